"""The control topics as a trim reads them: to their ends, and nothing is passed over.

A status that cannot be read, which others leave out, may be that of a worker with a copy: here it
is told as what is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from streamer.closable import Closable
from streamer.config import Config
from streamer.control.layouts import decode_layout
from streamer.control.messages import (
    AssignmentRecord,
    StatusRecord,
    decode_assignment,
    decode_status,
)
from streamer.control.orders import Order, decode_order
from streamer.control.topics import ControlTopics
from streamer.errors import InternalTopicError, StreamerError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.table import TableReader
from streamer.layout import ApplicationLayout
from streamer.operations.books import read_books
from streamer.operations.ports import Table
from streamer.operations.table import KafkaTable
from streamer.operations.trim.ports import Told

__all__ = ["KafkaControl", "told_of"]

_READ_S = 30.0

_LATER = re.compile(r"-changelog\.layout-[0-9]+$")

Rows = Mapping[tuple[TopicPartition, str], bytes]


class KafkaControl(Closable):
    """A `Control`. Raises TopicMissingError where no worker of the application has ever run."""

    def __init__(self, config: Config, admin: Admin) -> None:
        self._admin = admin
        self._topics = ControlTopics.find(config, admin)
        self._places = [*self._topics.assignments(), *self._topics.statuses()]
        there = admin.topics()
        # Older releases gave no orders, and had one layout.
        others = (self._topics.orders, self._topics.layout)
        self._places += [place for place in others if place.topic in there]
        if self._topics.layout not in self._places:
            _refuse_unseen_layout(self._topics, there)
        self._table: Table = KafkaTable(config)
        self._reader = TableReader(config, self._places)
        self._rows: dict[tuple[TopicPartition, str], bytes] = {}

    def read(self) -> Told:
        # Up to the high watermark: what was committed a moment ago may have no marker yet.
        ends = self._admin.ends(self._places, "read_uncommitted")
        for row in self._reader.read_to(ends, timeout_s=_READ_S):
            if row.value is None:
                self._rows.pop((row.place, row.key), None)
            else:
                self._rows[row.place, row.key] = row.value
        return told_of(self._topics, self._rows, self._table)

    def close(self) -> None:
        self._reader.close()
        self._table.close()


def told_of(topics: ControlTopics, rows: Rows, table: Table) -> Told:
    """The records of these rows, and of the table of operations."""
    assignments: dict[str, AssignmentRecord] = {}
    statuses: dict[str, StatusRecord] = {}
    orders: list[Order] = []
    refused: dict[str, StreamerError] = {}
    layout = ApplicationLayout()
    for (place, key), value in rows.items():
        try:
            if place in topics.statuses():
                statuses[key] = decode_status(place.topic, key, value)
            elif place == topics.orders:
                orders.append(decode_order(place.topic, key, value))
            elif place == topics.layout:
                layout = decode_layout(place.topic, key, value).layout
            else:
                assignments[key] = decode_assignment(place.topic, key, value)
        except InternalTopicError as error:
            refused[f"{key} in {place.topic}"] = error
    books = read_books(table.application, table.read(to_end=True))
    return Told(assignments, statuses, orders, books, refused, layout)


def _refuse_unseen_layout(topics: ControlTopics, there: Iterable[str]) -> None:
    """Raise where topics tell of a layout that the control topics do not: positions that workers
    tell would be taken for those of the changelogs of layout 1."""
    start = f"{topics.application_id}-"
    later = sorted(one for one in there if one.startswith(start) and _LATER.search(one))
    if later:
        raise InternalTopicError(
            f"{topics.layout.topic} is not seen, but {later[0]} is of a later layout",
            hint=f"grant Read on {topics.layout.topic}; where it is gone, docs/operations.md says"
            " how to bring the record back. Nothing was changed",
        )
