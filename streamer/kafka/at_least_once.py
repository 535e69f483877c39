"""Two producers where results need not be in a transaction: they are written at once, by the one.

    send -> results, at once            send_changes -> in a transaction, with the positions
    commit: every result is delivered, then the transaction commits

So the state of a task and its place in the input move together, and only for the owner of the
transactional id: a worker that stood still, and was fenced meanwhile, can repeat results, but takes
no position back and writes no row after its successor. The transaction is open during a commit
alone, so readers of changelogs wait for nobody's slow code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamer.config import Config
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed, OnRefused
from streamer.kafka.producer import WorkerProducer
from streamer.kafka.refusals import Limits
from streamer.record import Headers

__all__ = ["AtLeastOnceProducer"]


class AtLeastOnceProducer:
    """A ResultProducer, used by one thread."""

    is_transactional = False

    def __init__(
        self,
        config: Config,
        transactional_id: str,
        *,
        limits: Callable[[], Limits] = dict,
        stopping: threading.Event | None = None,
    ) -> None:
        self._results = WorkerProducer(config, None, limits=limits, queues=2)
        self._changes = WorkerProducer(
            config, transactional_id, limits=limits, stopping=stopping, queues=2
        )

    @property
    def on_refused(self) -> OnRefused | None:
        return self._results.on_refused

    @on_refused.setter
    def on_refused(self, on_refused: OnRefused | None) -> None:
        self._results.on_refused = on_refused

    @property
    def is_open(self) -> bool:
        return self._results.is_open or self._changes.is_open

    def init(self, topic: str = "") -> None:
        self._changes.init(topic)

    def begin(self) -> None:
        self._results.begin()

    def send(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        timestamps: Sequence[int],
        headers: Sequence[Headers] | None = None,
        partitions: Sequence[int] | None = None,
    ) -> None:
        self._results.send(
            topic, keys, values, timestamps=timestamps, headers=headers, partitions=partitions
        )

    def send_changes(
        self, changelog: TopicPartition, changes: Sequence[tuple[bytes, bytes | None]]
    ) -> None:
        self._changes.send_changes(changelog, changes)

    def partition_count(self, topic: str) -> int:
        return self._results.partition_count(topic)

    def commit(
        self, positions: Mapping[TopicPartition, Committed], group: Any
    ) -> dict[TopicPartition, int]:
        self._results.commit({}, group)
        if not positions and not self._changes.is_open:
            return {}
        return self._changes.commit(positions, group)

    def abort(self) -> None:
        self._changes.abort()
        self._results.abort()

    def close(self) -> None:
        self._changes.close()
        self._results.close()
