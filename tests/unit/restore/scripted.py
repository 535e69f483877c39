"""A restoring thread's loop with consumers that bring what the test tells them to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from streamer.changelog.format import Positions
from streamer.clock import ManualClock
from streamer.errors import StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds, Fetched, Records
from streamer.restore.loop import RestoreLoop
from streamer.restore.task import RestoreState, TaskRestore
from streamer.store.keys import row
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store

MIB = 1 << 20
RETENTION_MS = 1_000_000


class ScriptedConsumer:
    def __init__(self) -> None:
        self.ends: dict[TopicPartition, Bounds | StreamerError] = {}
        self.script: list[Fetched] = []
        self.reading: dict[TopicPartition, int] = {}
        self.asked: list[int] = []
        self.fetches: list[tuple[int, int]] = []
        self.heard: dict[TopicPartition, int] = {}

    def bounds(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, Bounds]:
        self.asked.append(len(places))
        found = {}
        for place in places:
            answer = self.ends[place]
            if isinstance(answer, StreamerError):
                raise answer
            found[place] = answer
        return found

    def add(self, positions: Mapping[TopicPartition, int]) -> None:
        assert not set(positions) & set(self.reading)
        self.reading.update(positions)

    def remove(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            del self.reading[place]

    def fetch(self, records_max: int, timeout_ms: int) -> Fetched:
        self.fetches.append((records_max, timeout_ms))
        return self.script.pop(0) if self.script else Fetched()

    def known_ends(self) -> dict[TopicPartition, int]:
        return {place: end for place, end in self.heard.items() if place in self.reading}

    def close(self) -> None:
        assert not self.reading


class Bench:
    """A loop with its consumers, clock and ended restores; `second` is that of standbys."""

    def __init__(self, directory: Path) -> None:
        self.consumer = ScriptedConsumer()
        self.second = ScriptedConsumer()
        self.clock = ManualClock(1_700_000_000_000)
        self.ended: list[TaskRestore] = []
        consumer: Any = self.consumer
        self.loop = RestoreLoop(
            consumer, self.ended.append, clock=self.clock, delete_retention_ms=RETENTION_MS
        )
        self._directory = directory
        self._pool = MemoryPool(8 * MIB, 8 * MIB)
        self.databases: list[TaskDatabase] = []

    def start(self, partition: int, end: Bounds | StreamerError) -> TaskRestore:
        restore = self._made(partition, end, is_standby=False)
        self.loop.add(restore)
        return restore

    def follow(self, partition: int, end: Bounds | StreamerError) -> TaskRestore:
        restore = self._made(partition, end, is_standby=True)
        second: Any = self.second
        self.loop.follow(restore, second)
        return restore

    def _made(
        self, partition: int, end: Bounds | StreamerError, *, is_standby: bool
    ) -> TaskRestore:
        task = TaskId(0, partition)
        self.consumer.ends[place(partition)] = end
        changelogs = {"plain": place(partition)}
        return TaskRestore(task, self.database(partition), changelogs, is_standby=is_standby)

    def database(self, partition: int) -> TaskDatabase:
        directory = self._directory / str(TaskId(0, partition))
        for known in self.databases:
            if known.directory == directory:
                return known
        specs = [Store("plain", str, int).spec()]
        database = TaskDatabase.open(directory, specs, pool=self._pool, options={})
        self.databases.append(database)
        return database

    def turn(self, *fetched: Fetched, memory_bytes: int = MIB) -> None:
        """Turns of the loop, in which restores are brought these."""
        self.consumer.script.extend(fetched or [Fetched()])
        while self.consumer.script:
            self.loop.apply(self.loop.fetch(), memory_bytes)

    def hear(self, *fetched: Fetched, memory_bytes: int = MIB) -> None:
        """Turns of the loop, in which standbys are brought these."""
        self.second.script.extend(fetched)
        while self.second.script:
            self.turn(memory_bytes=memory_bytes)

    def wait(self, duration_ms: int) -> None:
        self.clock.advance(duration_ms)
        self.turn()


def place(partition: int) -> TopicPartition:
    return TopicPartition("app-plain-changelog", partition)


def records(partition: int, offsets: range, size_bytes: int = 10) -> Records:
    keys = [b"%08d" % offset for offset in offsets]
    return Records(place(partition), keys, [row(1, bytes(size_bytes))] * len(keys), list(offsets))


def position(restore: TaskRestore) -> int:
    return stored(restore).changelogs.get("plain", 0)


def stored(restore: TaskRestore) -> Positions:
    return Positions.decode(restore.database.metadata())


def rows(restore: TaskRestore) -> int:
    return len(list(restore.database.scan("plain", b"", None)))


def following(bench: Bench, partition: int = 1, end: int = 10) -> TaskRestore:
    """A standby at the end of its changelog."""
    one = bench.follow(partition, Bounds(0, end))
    bench.hear(Fetched(records=[records(partition, range(end))]))
    assert one.state is RestoreState.FOLLOWING
    return one
