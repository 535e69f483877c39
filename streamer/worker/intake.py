"""What the tasks of a worker read: who reads which partition, and which of them are paused.

Paused are partitions of which more waits than the others of their task can follow, and those whose
task rests while others are read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from streamer import metrics
from streamer.ids import TopicPartition
from streamer.kafka.api import Fetched, InputReader
from streamer.task.active import ActiveTask
from streamer.task.input import Crowd
from streamer.worker.rota import Rota

__all__ = ["Intake"]

# The longest wait of a fetch while tasks rest: what a fetch that finds nothing takes on the broker.
_RESTING_POLL_MS = 100


class Intake:
    """Changed by the main thread alone."""

    def __init__(self, reader: InputReader) -> None:
        self._reader = reader
        self._by_partition: dict[TopicPartition, ActiveTask] = {}
        self._paused: set[TopicPartition] = set()
        self._crowd = Crowd()
        self._rota = Rota()
        self._read_alone: Collection[str] | None = None

    def __bool__(self) -> bool:
        """Whether anything is read."""
        return bool(self._by_partition)

    def poll_ms(self, usual_ms: int) -> int:
        """How long a fetch may wait: not for long while tasks rest that have more to be read."""
        return min(usual_ms, _RESTING_POLL_MS) if self._rota.resting else usual_ms

    def reading(self, partition: TopicPartition) -> ActiveTask | None:
        return self._by_partition.get(partition)

    def add(self, active: ActiveTask) -> None:
        """Begin to read what a task needs, at its positions."""
        for partition in active.partitions:
            self._by_partition[partition] = active
        self._rota.add(active.task, active.partitions)
        self._reader.add(active.positions)
        self._hold(active)

    def hold(self, running: Iterable[ActiveTask], topics: Collection[str]) -> None:
        """From here on only these topics are read, from the last commits on, until `release`."""
        self._read_alone = topics
        self.rewind(running)

    def release(self, running: Iterable[ActiveTask]) -> None:
        """Everything is read again, from the last commits on."""
        if self._read_alone is not None:
            self._read_alone = None
            self.rewind(running)

    def _hold(self, active: ActiveTask) -> None:
        active.crosses = self._read_alone is None
        if self._read_alone is None:
            return
        held = {place for place in active.partitions if place.topic not in self._read_alone}
        self._reader.pause(held)
        for place in held:
            # The others are not to wait for it.
            active.input.reached_end(place, active.committed[place])

    def remove(self, active: ActiveTask) -> None:
        """Nothing happens where nothing is read for it."""
        reading = [place for place in active.partitions if self._by_partition.pop(place, None)]
        if reading:
            self._rota.remove(reading)
            self._reader.remove(reading)
            self._paused.difference_update(reading)

    def take(self, fetched: Fetched, now_ms: int) -> None:
        """Hand what was fetched to the tasks that read it; `now_ms` never goes back."""
        read, ended = set(), set()
        for batch in fetched.batches:
            active = self._by_partition.get(batch.place)
            if active is not None and not self._is_held(batch.place):
                active.add(batch)
                read.add(batch.place)
                metrics.records_consumed.labels(str(active.task), batch.topic).inc(len(batch))
        for partition, end in fetched.ends.items():
            active = self._by_partition.get(partition)
            if active is not None and not self._is_held(partition):
                active.input.reached_end(partition, end)
                ended.add(partition)
        if self._read_alone is None:
            self._rota.saw(read, ended, is_full=fetched.is_full, now_ms=now_ms)

    def rewind(self, running: Iterable[ActiveTask]) -> None:
        """Every task forgets, and its input is read again from the last commit."""
        running = list(running)
        self._rota.reset()
        for active in running:
            active.abort()
            self._reader.seek(active.committed)
        self._resume(set(self._paused))
        for active in running:
            self._hold(active)

    def balance(self, running: Iterable[ActiveTask], bytes_max: int) -> None:
        """Pause partitions that run ahead of the others of their task, and tasks that rest; resume
        them later."""
        running = list(running)
        wanted = self._crowd.full([active.input for active in running], bytes_max)
        for active in running:
            if active.task in self._rota.resting:
                wanted = wanted.union(active.partitions)
                # Where they end is told again when they are read again.
                active.input.forget_ends(active.partitions)
        if wanted - self._paused:
            self._reader.pause(wanted - self._paused)
        self._resume(self._paused - wanted)
        self._paused = wanted

    def _is_held(self, place: TopicPartition) -> bool:
        return self._read_alone is not None and place.topic not in self._read_alone

    def _resume(self, partitions: set[TopicPartition]) -> None:
        if partitions:
            self._reader.resume(partitions)
            self._paused = self._paused - partitions
