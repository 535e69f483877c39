"""What the tasks of a worker read: who reads which partition, and which of them are paused."""

from __future__ import annotations

from collections.abc import Iterable

from streamer import metrics
from streamer.ids import TopicPartition
from streamer.kafka.api import Fetched, InputReader
from streamer.task.active import ActiveTask
from streamer.task.input import Crowd

__all__ = ["Intake"]


class Intake:
    """Changed by the main thread alone."""

    def __init__(self, reader: InputReader) -> None:
        self._reader = reader
        self._by_partition: dict[TopicPartition, ActiveTask] = {}
        self._paused: set[TopicPartition] = set()
        self._crowd = Crowd()

    def __bool__(self) -> bool:
        """Whether anything is read."""
        return bool(self._by_partition)

    def reading(self, partition: TopicPartition) -> ActiveTask | None:
        return self._by_partition.get(partition)

    def add(self, active: ActiveTask) -> None:
        """Begin to read what a task needs, at its positions."""
        for partition in active.partitions:
            self._by_partition[partition] = active
        self._reader.add(active.positions)

    def remove(self, active: ActiveTask) -> None:
        """Nothing happens where nothing is read for it."""
        reading = [place for place in active.partitions if self._by_partition.pop(place, None)]
        if reading:
            self._reader.remove(reading)
            self._paused.difference_update(reading)

    def take(self, fetched: Fetched) -> None:
        """Hand what was fetched to the tasks that read it."""
        for batch in fetched.batches:
            active = self._by_partition.get(batch.place)
            if active is not None:
                active.add(batch)
                metrics.records_consumed.labels(str(active.task), batch.topic).inc(len(batch))
        for partition, end in fetched.ends.items():
            active = self._by_partition.get(partition)
            if active is not None:
                active.input.reached_end(partition, end)

    def rewind(self, running: Iterable[ActiveTask]) -> None:
        """Every task forgets, and its input is read again from the last commit."""
        for active in running:
            active.abort()
            self._reader.seek(active.committed)
        self._resume(set(self._paused))

    def balance(self, running: Iterable[ActiveTask], bytes_max: int) -> None:
        """Pause partitions that run ahead of the others of their task, resume them later."""
        full = self._crowd.full([active.input for active in running], bytes_max)
        if full - self._paused:
            self._reader.pause(full - self._paused)
        self._resume(self._paused - full)
        self._paused = full

    def _resume(self, partitions: set[TopicPartition]) -> None:
        if partitions:
            self._reader.resume(partitions)
            self._paused = self._paused - partitions
