"""Ports of feeds over the in-memory broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from streamer.changelog.topics import DELETE_RETENTION_MS
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed, InputReader, ResultProducer
from streamer.kafka.fake import FakeBroker

__all__ = ["FakePorts"]


class _Unhurried(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class FakePorts:
    """A `Ports`, of whatever group."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.stopping: threading.Event = _Unhurried()
        self.delete_retention_ms = DELETE_RETENTION_MS

    def reader(self, group: str) -> InputReader:
        return self.broker.reader(group)

    def producer(
        self, name: str, topics: Sequence[str], *, is_over: Callable[[], bool]
    ) -> ResultProducer:
        return self.broker.producer(name)

    def committed(
        self, group: str, places: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        return self.broker.reader(group).committed(places)

    def known(
        self, group: str, places: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        return self.committed(group, places)

    def starts(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: self.broker.bounds(place)[0] for place in places}

    def ends(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self.broker.check("ends")
        return {place: self.broker.bounds(place)[1] for place in places}

    def stable_ends(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: self.broker.log(place).stable_end for place in places}

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        return {topic: self.broker.partition_count(topic) for topic in topics}
