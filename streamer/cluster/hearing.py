"""What a worker is told: its assignments, what all are asked to do, and which layout holds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from streamer.cluster.layouts import Layouts
from streamer.cluster.orders import Orders
from streamer.config import Config
from streamer.control.messages import AssignmentRecord, decode_assignment
from streamer.control.topics import ControlTopics
from streamer.kafka.settings import FOLLOW_WAIT_MS
from streamer.kafka.table import TableReader, newest

__all__ = ["Told", "listen"]

_POLL_S = 0.1
# Until the first assignment has come, nothing waits behind a request that waits for news.
_FIRST_WAIT_MS = 500


class Told(NamedTuple):
    """What concerns all workers alike."""

    orders: Orders
    layouts: Layouts


def listen(
    config: Config,
    topics: ControlTopics,
    *,
    hear: Callable[[AssignmentRecord], bool],
    told: Told,
    stopped: threading.Event,
) -> None:
    """Until it is stopped. One client for all topics: what seldom comes is seldom asked for, once
    `hear` has said that this worker has an assignment.

    Raises InternalTopicError for an assignment that cannot be read.
    """
    worker = config.worker_id or ""
    orders, layouts = told
    place = topics.assignment(worker)
    has_assignment = is_patient = False
    with TableReader(
        config, [place, topics.orders, topics.layout], wait_ms=_FIRST_WAIT_MS
    ) as reader:
        while not stopped.is_set():
            for row in newest(reader.read(_POLL_S)):
                if row.place == topics.orders:
                    orders.hear(row)
                elif row.place == topics.layout:
                    layouts.hear(row)
                elif row.key == worker and row.value is not None:
                    has_assignment = hear(decode_assignment(place.topic, row.key, row.value))
            if has_assignment and not is_patient:
                is_patient = True
                reader.ask_less(FOLLOW_WAIT_MS)
