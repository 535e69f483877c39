"""What a worker is told: its assignments, what all are asked to do, and which layout holds."""

from __future__ import annotations

import threading
import time

from streamer import metrics
from streamer.cluster.layouts import Layouts
from streamer.cluster.lease import Lease
from streamer.cluster.orders import Orders
from streamer.cluster.proof import Proof, end_of
from streamer.cluster.seat import Seat
from streamer.config import Config
from streamer.control.messages import AssignmentRecord, decode_assignment
from streamer.control.topics import ControlTopics
from streamer.ids import Layout
from streamer.kafka.admin import Admin
from streamer.kafka.settings import FOLLOW_WAIT_MS
from streamer.kafka.table import TableReader, newest

__all__ = ["Hearing", "wait_ms_of"]

_POLL_S = 0.1
# Until the first assignment has come, nothing waits behind a request that waits for news.
_SOON_MS = 500
# Nor while brokers elect other leaders: who leads is a question to a broker too, and may stand
# behind what it was asked for before, several times. One that has died is given up after 9 s by
# default; the others have its partitions some seconds later.
_TROUBLED_S = 30.0


def wait_ms_of(has_assignment: bool, trouble_s: float | None, *, now_s: float) -> int:
    """How long a broker may wait for news; `trouble_s` is when one was last found to be gone."""
    is_troubled = trouble_s is not None and now_s - trouble_s < _TROUBLED_S
    return _SOON_MS if is_troubled or not has_assignment else FOLLOW_WAIT_MS


class Hearing:
    """Of a seat, which `lock` guards, and of a worker that runs this layout."""

    def __init__(self, seat: Seat, lease: Lease, *, lock: threading.Lock, layout: Layout) -> None:
        self.orders = Orders()
        self.layouts = Layouts(layout)
        self._seat = seat
        self._lease = lease
        self._lock = lock

    def listen(
        self, config: Config, topics: ControlTopics, *, admin: Admin, stopped: threading.Event
    ) -> None:
        """Until it is stopped. One client for all topics: what seldom comes is seldom asked for,
        once this worker has an assignment and its brokers are there.

        Raises InternalTopicError for an assignment that cannot be read.
        """
        worker = config.worker_id or ""
        place = topics.assignment(worker)
        proof = Proof(self._lease, end_of(admin, place))
        has_assignment = False
        places = [place, topics.orders, topics.layout]
        with TableReader(config, places, wait_ms=_SOON_MS) as reader:
            while not stopped.is_set():
                for row in newest(reader.read(_POLL_S)):
                    if row.place == topics.orders:
                        self.orders.hear(row)
                    elif row.place == topics.layout:
                        self.layouts.hear(row)
                    elif row.key == worker and row.value is not None:
                        record = decode_assignment(place.topic, row.key, row.value)
                        has_assignment = self._hear(record)
                proof.look(reader.reached(place))
                wait_ms = wait_ms_of(has_assignment, reader.trouble_s, now_s=time.monotonic())
                if wait_ms != reader.wait_ms:
                    reader.ask_after(wait_ms)

    def _hear(self, record: AssignmentRecord) -> bool:
        """Whether this worker has an assignment."""
        seat = self._seat
        with self._lock:
            before = seat.desired
            seat.hear(record)
            after = seat.desired
            if seat.is_fenced or seat.failure:
                self._lease.end()
        metrics.assignments.inc(after is not None and after is not before)
        return after is not None
