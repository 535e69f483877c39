"""What a fetch brought besides trouble reaches its tasks, unless they read it again anyway."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.clock import ManualClock
from streamer.config import Config
from streamer.errors import KafkaUnavailableError, StreamerError
from streamer.ids import TopicPartition
from streamer.kafka.api import Fetched
from streamer.kafka.fake import FakeBroker
from streamer.record import RawBatch
from streamer.topology.partitioner import partition_of
from streamer.worker.loop import Loop

OWNED, GIVEN_UP = TopicPartition("in", 0), TopicPartition("in", 1)
BATCH = RawBatch(topic="in", partition=0, keys=[b"k"], values=[b"v"], timestamps=[0], offsets=[7])


class Reader:
    """Brings one batch together with a failure of `failing`."""

    def __init__(self, failing: TopicPartition) -> None:
        self._failing = failing

    def fetch(self, _records_max: int, _timeout_ms: int) -> Fetched:
        failures: dict[TopicPartition, StreamerError] = {
            self._failing: KafkaUnavailableError("the leader is away")
        }
        return Fetched(batches=[BATCH], failures=failures)


class Tasks:
    """One task, which reads OWNED."""

    running: tuple[()] = ()
    poll_ms = 0

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.failed = 0
        self.rewound = 0

    def reading(self, partition: TopicPartition) -> str | None:
        return "0_0" if partition == OWNED else None

    def take(self, fetched: Fetched, _now_ms: int) -> None:
        self.taken += [offset for batch in fetched.batches for offset in batch.offsets]

    def fail(self, _task: Any, _error: StreamerError) -> None:
        self.failed += 1

    def rewind(self) -> None:
        self.rewound += 1


def _read(failing: TopicPartition) -> Tasks:
    clock = ManualClock()
    broker = FakeBroker(partition_of=partition_of, now_ms=clock.now_ms)
    tasks, reader, member = Tasks(), Reader(failing), object()
    given: dict[str, Any] = {"tasks": tasks, "reader": reader, "member": member}
    given["pausing"] = None
    loop = Loop(
        Config(application_id="app"),
        clock=clock,
        producer=broker.producer(None),
        held_bytes_max=1,
        renew=lambda: None,
        **given,
    )
    try:
        loop._read()
    finally:
        loop._collector.restore()
    return tasks


@pytest.mark.parametrize(("failing", "taken", "halted"), [(GIVEN_UP, [7], 0), (OWNED, [], 1)])
def test_records_are_dropped_only_where_they_come_again(
    failing: TopicPartition, taken: list[int], halted: int
) -> None:
    tasks = _read(failing)
    assert tasks.taken == taken
    assert tasks.rewound == tasks.failed == halted
