"""What was asked for and answered, as somebody has read it from the operations topic. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeVar, get_args

from streamer.control.proposals import is_page, joined
from streamer.control.requests import (
    Answer,
    DrainRecord,
    ProposalRecord,
    RebalanceRecord,
    Request,
    decode,
    key_of,
)
from streamer.errors import InternalTopicError
from streamer.kafka.table import Row

__all__ = ["Said"]

Kind = TypeVar("Kind", bound=Request | Answer)


class Said:
    """The newest record of each kind, and what has been read of those before them."""

    def __init__(self) -> None:
        self._found: dict[str, Request | Answer] = {}
        self._offsets: dict[str, int] = {}
        self._pages: dict[str, bytes | None] = {}
        self._drains: dict[str, DrainRecord] = {}
        self._rebalances: set[str] = set()

    def take(self, rows: Sequence[Row], topic: str) -> None:
        """Rows in the order of the log. Raises InternalTopicError where the newest of a kind cannot
        be read; what was replaced need not be."""
        for row in rows:
            with suppress(InternalTopicError):
                self._note(row, topic)
        newest = {row.key: row for row in rows}
        for kind in (*get_args(Request), *get_args(Answer)):
            last = newest.get(key_of(kind))
            if last is None or last.value is None:
                continue
            found = self._decoded(kind, topic, last.value)
            if found is not None:
                self._found[last.key] = found
                self._offsets[last.key] = last.offset

    def get(self, kind: type[Kind]) -> Kind | None:
        """The newest; None where there is none."""
        found = self._found.get(key_of(kind))
        return found if isinstance(found, kind) else None

    def is_later(self, one: type[Request], other: type[Answer]) -> bool:
        """Whether the newest of the one kind came after that of the other. Both are there."""
        return self._offsets[key_of(one)] > self._offsets[key_of(other)]

    def replaced_by(self, number: str) -> RebalanceRecord | None:
        """What stands in place of the rebalance of this number; None where that stands, or has yet
        to be read: it may be hidden for a moment by a transaction that is open."""
        asked = self.get(RebalanceRecord)
        is_known = number in self._rebalances and asked is not None
        return asked if is_known and asked is not None and asked.number != number else None

    def is_informed(self, drain: DrainRecord, of: Iterable[str]) -> bool:
        """Whether it was made from a drain of one of these names, or from what was."""
        names, passed = set(of), set[str]()
        while drain.follows not in passed:
            if drain.follows in names:
                return True
            passed.add(drain.follows)
            drain = self._drains.get(drain.follows, drain)
        return False

    def _note(self, row: Row, topic: str) -> None:
        if is_page(row.key):
            self._pages[row.key] = row.value
        elif row.key == key_of(DrainRecord) and row.value:
            drain = decode(DrainRecord, topic, row.value)
            self._drains[drain.name] = drain
        elif row.key == key_of(RebalanceRecord) and row.value:
            self._rebalances.add(decode(RebalanceRecord, topic, row.value).number)

    def _decoded(
        self, kind: type[Request | Answer], topic: str, value: bytes
    ) -> Request | Answer | None:
        """None for a proposal of which another one has overwritten pages: that one comes next."""
        if kind is ProposalRecord:
            return joined(self._pages | {key_of(kind): value}, topic)
        return decode(kind, topic, value)
