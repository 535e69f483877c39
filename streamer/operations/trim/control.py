"""The control topics as a trim reads them: to their ends, and nothing is passed over.

A status that cannot be read, which others leave out, may be that of a worker with a copy: here it
is told as what is not known.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamer.closable import Closable
from streamer.config import Config
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
from streamer.operations.books import read_books
from streamer.operations.ports import Table
from streamer.operations.table import KafkaTable
from streamer.operations.trim.ports import Told

__all__ = ["KafkaControl", "told_of"]

_READ_S = 30.0

Rows = Mapping[tuple[TopicPartition, str], bytes]


class KafkaControl(Closable):
    """A `Control`. Raises TopicMissingError where no worker of the application has ever run."""

    def __init__(self, config: Config, admin: Admin) -> None:
        self._admin = admin
        self._topics = ControlTopics.find(config, admin)
        self._places = [*self._topics.assignments(), *self._topics.statuses()]
        if self._topics.orders.topic in admin.topics():
            # An older release gave no orders.
            self._places.append(self._topics.orders)
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
    for (place, key), value in rows.items():
        try:
            if place in topics.statuses():
                statuses[key] = decode_status(place.topic, key, value)
            elif place == topics.orders:
                orders.append(decode_order(place.topic, key, value))
            else:
                assignments[key] = decode_assignment(place.topic, key, value)
        except InternalTopicError as error:
            refused[f"{key} in {place.topic}"] = error
    books = read_books(table.application, table.read(to_end=True))
    return Told(assignments, statuses, orders, books, refused)
