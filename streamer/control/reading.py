"""Status records as they come: one that cannot be read is told, and passed over.

Whoever may write to the topic could otherwise end every controller and every routed query with one
record. The worker it is about counts as not heard; its own next status takes the record's place.
Assignments are another matter: who cannot read them does not know who owns what, and must not go
on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from streamer import metrics
from streamer.control.messages import StatusRecord, decode_status
from streamer.errors import InternalTopicError
from streamer.kafka.table import Row

__all__ = ["StatusReader"]

_log = logging.getLogger(__name__)


# Whoever writes what cannot be read can do so under any number of keys.
_TOLD_MAX = 1_000


class StatusReader:
    """Decodes status records, and tells of each key once until it can be read again, or is gone."""

    def __init__(self) -> None:
        self._refused: set[str] = set()

    def read(self, rows: Iterable[Row]) -> list[StatusRecord]:
        """The records that can be read, in their order; rows without a value are left out."""
        found = (self._read(row) for row in rows)
        return [one for one in found if one is not None]

    @property
    def refused(self) -> frozenset[str]:
        """The keys whose newest record cannot be read; at most 1,000 of them."""
        return frozenset(self._refused)

    def _read(self, row: Row) -> StatusRecord | None:
        if row.value is None:
            self._refused.discard(row.key)
            return None
        try:
            record = decode_status(row.place.topic, row.key, row.value)
        except InternalTopicError as error:
            metrics.statuses_refused.inc()
            if row.key not in self._refused and len(self._refused) < _TOLD_MAX:
                self._refused.add(row.key)
                _log.error("a status is passed over: %s", error.describe())
            return None
        self._refused.discard(row.key)
        return record
