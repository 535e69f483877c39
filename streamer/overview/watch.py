"""`Watch`: follows the control topics of one application, and says what they tell together.

Statuses, operations and orders are read to their ends at each look. Assignments seldom change and
lie in as many partitions as a large fleet has workers, so they have a reader of their own, which
asks Kafka only every few seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from streamer.clock import Clock, SystemClock
from streamer.closable import Closable
from streamer.config import Config
from streamer.control.layouts import decode_layout
from streamer.control.messages import AssignmentRecord, StatusRecord, decode_assignment
from streamer.control.orders import Order, decode_order
from streamer.control.reading import StatusReader
from streamer.control.requests import DrainRecord, PlanRecord, decode, key_of
from streamer.control.roster import Roster
from streamer.control.topics import ControlTopics
from streamer.errors import InternalTopicError
from streamer.kafka.admin import Admin
from streamer.kafka.settings import FOLLOW_WAIT_MS
from streamer.kafka.table import Row, TableReader, newest
from streamer.layout import ApplicationLayout
from streamer.operations.books import Books, read_books
from streamer.overview.seen import Seen

__all__ = ["Watch"]

# Whoever looks is told within so long that Kafka is away.
_ASK_S = 8.0
_READ_S = 15.0
_ALL_READ_S = 60.0
_ELECTED_MS = 10_000
# The fetches of three partitions where nothing happens; what comes is answered at once.
_WAIT_MS = 500


class Watch(Closable):
    """Reads, and writes nothing. Used by one thread. After an error that `look` raised it is of no
    further use: what had been read until then is lost. Once `stopping` is set, waiting ends.

    Raises TopicMissingError where no worker of the application has ever run, KafkaUnavailableError
    when the brokers do not answer. Records that cannot be read are told of in what was seen.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._admin = Admin(config, timeout_s=_ASK_S, stopping=stopping)
        self._topics = ControlTopics.find(config, self._admin)
        # Older releases knew neither operations nor orders, and one layout.
        there = self._admin.topics()
        others = (self._topics.operations, self._topics.orders, self._topics.layout)
        self._places = [*self._topics.statuses(), *(one for one in others if one.topic in there)]
        self._roster = Roster(
            config, self._admin, self._topics, clock=self._clock, elected_ms=_ELECTED_MS
        )
        self._reading = StatusReader()
        self._statuses: dict[str, StatusRecord] = {}
        self._assignments: dict[str, AssignmentRecord] = {}
        self._orders: dict[str, Order] = {}
        self._layout = ApplicationLayout()
        self._rows: dict[str, bytes] = {}
        self._books: Books | None = None
        self._refused: dict[tuple[str, str], str] = {}
        self._knows_assignments = False
        self._reader = TableReader(config, self._places, wait_ms=_WAIT_MS)
        self._slow_reader = TableReader(config, self._topics.assignments(), wait_ms=FOLLOW_WAIT_MS)

    def look(self) -> Seen:
        """Everything that was written before this call; of assignments what has come by itself."""
        ends = self._admin.ends(self._places)
        self._take(self._reader.read_to(ends, timeout_s=_READ_S))
        if self._knows_assignments:
            while rows := self._slow_reader.read(0):
                self._take(rows)
        return self._seen()

    def read_assignments(self) -> None:
        """All of them, once: some seconds, which the first look need not wait for."""
        ends = self._admin.ends(self._topics.assignments())
        self._take(self._slow_reader.read_to(ends, timeout_s=_ALL_READ_S))
        self._knows_assignments = True

    @property
    def knows_assignments(self) -> bool:
        return self._knows_assignments

    def close(self) -> None:
        self._reader.close()
        self._slow_reader.close()

    # -- what rows say -------------------------------------------------------------------------

    def _take(self, rows: Iterable[Row]) -> None:
        for row in newest(rows):
            self._refused.pop((row.place.topic, row.key), None)
            if row.place in self._topics.statuses():
                self._take_status(row)
            elif row.place == self._topics.operations:
                self._take_operation(row)
            elif row.value is None and row.place == self._topics.layout:
                self._layout = ApplicationLayout()
            elif row.value is None:
                kept = self._orders if row.place == self._topics.orders else self._assignments
                kept.pop(row.key, None)
            else:
                self._take_record(row, row.value)

    def _take_status(self, row: Row) -> None:
        if row.value is None:
            self._statuses.pop(row.key, None)
        for status in self._reading.read([row]):
            self._statuses[status.worker] = status

    def _take_operation(self, row: Row) -> None:
        self._books = None
        if row.value is None:
            self._rows.pop(row.key, None)
        else:
            self._rows[row.key] = row.value

    def _take_record(self, row: Row, value: bytes) -> None:
        topic, key = row.place.topic, row.key
        try:
            if row.place == self._topics.orders:
                self._orders[key] = decode_order(topic, key, value)
            elif row.place == self._topics.layout:
                self._layout = decode_layout(topic, key, value).layout
            else:
                self._assignments[key] = decode_assignment(topic, key, value)
        except InternalTopicError as error:
            self._refused[topic, key] = error.message

    def _seen(self) -> Seen:
        plan, drain = self._told(PlanRecord), self._told(DrainRecord)
        if self._books is None:
            self._books = read_books(self._config.application_id, self._rows)
        refused = {key: why for (_topic, key), why in self._refused.items()}
        refused |= {key: error.message for key, error in self._books.refused.items()}
        refused |= dict.fromkeys(self._reading.refused, "its status cannot be read")
        return Seen(
            application=self._config.application_id,
            at_ms=self._clock.now_ms(),
            workers=self._roster.workers(self._assignments, self._statuses),
            statuses=dict(self._statuses),
            assignments=dict(self._assignments) if self._knows_assignments else None,
            plan=plan if isinstance(plan, PlanRecord) else None,
            drain=drain if isinstance(drain, DrainRecord) else DrainRecord(),
            orders=tuple(self._orders.values()),
            books=self._books,
            refused=refused,
            warm_lag=self._config.acceptable_recovery_lag,
            layout=self._layout,
        )

    def _told(self, kind: type[PlanRecord] | type[DrainRecord]) -> PlanRecord | DrainRecord | None:
        key, topic = key_of(kind), self._topics.operations.topic
        if (value := self._rows.get(key)) is None:
            return None
        try:
            found: PlanRecord | DrainRecord = decode(kind, topic, value)
        except InternalTopicError as error:
            self._refused[topic, key] = error.message
            return None
        return found
