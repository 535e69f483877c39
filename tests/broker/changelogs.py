"""For restore scenarios: a changelog with committed and aborted rows, and a task to restore."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from streamer.changelog.format import Positions
from streamer.changelog.topics import DELETE_RETENTION_MS, changelog_settings
from streamer.config import Config
from streamer.errors import StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.admin import Admin
from streamer.restore import Restorer
from streamer.store.keys import row
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store, StoreSpec
from tests.broker.workers import PATIENCE_S

MIB = 1 << 20
SPEC = Store("totals", str, int).spec()
Change = tuple[bytes, bytes | None]


def numbered(numbers: Iterable[int], value: bytes = b"v") -> list[Change]:
    return [(b"k%07d" % number, row(1, value)) for number in numbers]


def contents(database: TaskDatabase, store: str = "totals") -> dict[bytes, bytes]:
    return dict(database.scan(store, b"", None))


class Changelog:
    """One partition of a changelog topic, written in transactions as a worker does."""

    def __init__(self, bootstrap_servers: str, topic: str, partition: int = 0) -> None:
        self.place = TopicPartition(topic, partition)
        self._admin = Admin(Config(application_id="test", bootstrap_servers=bootstrap_servers))
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "transactional.id": f"{topic}-{partition}-{time.time_ns()}",
                "linger.ms": 5,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._producer.init_transactions(30)

    def begin(self, changes: Iterable[Change]) -> None:
        """Write in a transaction that stays open."""
        self._producer.begin_transaction()
        for count, (key, value) in enumerate(changes):
            self._producer.produce(self.place.topic, value, key, partition=self.place.partition)
            if count % 1_000 == 0:
                self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def end(self, *, commit: bool = True) -> None:
        """Returns when the marker is written as well: it comes after the broker's answer."""
        before = self._admin.ends([self.place], "read_uncommitted")[self.place]
        is_empty = self._admin.ends([self.place])[self.place] == before
        if commit:
            self._producer.commit_transaction(30)
        else:
            self._producer.abort_transaction(30)
        deadline = time.monotonic() + PATIENCE_S
        while not is_empty and self._admin.ends([self.place])[self.place] <= before:
            assert time.monotonic() < deadline, f"{self.place} has no marker after {PATIENCE_S} s"
            time.sleep(0.005)

    def write(self, changes: Iterable[Change], *, commit: bool = True) -> None:
        self.begin(changes)
        self.end(commit=commit)


class Restoring:
    """Tasks 0_0, 0_1, ... below a directory, with one restorer."""

    def __init__(self, bootstrap_servers: str, directory: Path, **config: Any) -> None:
        self.config = Config(
            application_id=directory.name[:60], bootstrap_servers=bootstrap_servers, **config
        )
        self.directory = directory
        self._pool = MemoryPool(16 * MIB, 16 * MIB)
        self._databases: dict[TaskId, TaskDatabase] = {}
        self.restorer = Restorer(self.config, self._pool, delete_retention_ms=DELETE_RETENTION_MS)

    def database(self, number: int = 0, *specs: StoreSpec) -> TaskDatabase:
        """The database of a task, opened when it is not."""
        task = TaskId(0, number)
        if task not in self._databases:
            self._databases[task] = TaskDatabase.open(
                self.directory / str(task), specs or (SPEC,), pool=self._pool, options={}
            )
        return self._databases[task]

    def start(self, place: TopicPartition, number: int = 0, *specs: StoreSpec) -> TaskId:
        task = TaskId(0, number)
        database = self.database(number, *specs)
        store = specs[0].name if specs else SPEC.name
        self.restorer.start(task, database, {store: place})
        return task

    def follow(self, place: TopicPartition, number: int = 0) -> TaskId:
        """Keep a copy of a task."""
        task = TaskId(0, number)
        self.restorer.follow(task, self.database(number), {SPEC.name: place})
        return task

    def follow_to_the_end(self, place: TopicPartition, number: int = 0) -> TaskId:
        task = self.follow(place, number)
        self.wait_caught_up(task)
        return task

    def wait_caught_up(self, *tasks: TaskId, timeout: float = PATIENCE_S) -> None:
        """Until these have read all that they know of, markers included."""
        deadline = time.monotonic() + timeout
        while any(self.restorer.lag(task) != 0 for task in tasks):
            assert (ended := self.restorer.finished()) == [], f"{ended} while it followed"
            lags = [self.restorer.lag(task) for task in tasks]
            assert time.monotonic() < deadline, f"lags are {lags} after {timeout} s"
            time.sleep(0.005)

    def promote(self, number: int = 0) -> int:
        """Promote a copy and wait for its end; how many records that restored."""
        task = TaskId(0, number)
        self.restorer.promote(task)
        failure = self.wait(task)[task]
        if failure is not None:
            raise failure
        assert self.restorer.progress(task).remaining_offsets == 0
        return self.restorer.progress(task).restored_records

    def wait(
        self, *tasks: TaskId, timeout: float = PATIENCE_S
    ) -> dict[TaskId, StreamerError | None]:
        """Until these have ended; with what went wrong."""
        ended: dict[TaskId, StreamerError | None] = {}
        deadline = time.monotonic() + timeout
        while not set(tasks) <= set(ended):
            assert time.monotonic() < deadline, f"{tasks}: restored only {ended} in {timeout} s"
            ended.update(self.restorer.finished())
            time.sleep(0.005)
        return ended

    def restore(self, place: TopicPartition, number: int = 0) -> tuple[int, TaskDatabase]:
        """Restore one task to its end: (records restored, its database)."""
        task = self.start(place, number)
        failure = self.wait(task)[task]
        if failure is not None:
            raise failure
        progress = self.restorer.progress(task)
        assert progress.remaining_offsets == 0
        assert progress.eta_s == 0
        return progress.restored_records, self.database(number)

    def position(self, number: int = 0) -> int:
        return self.stored(number).changelogs.get("totals", 0)

    def stored(self, number: int = 0) -> Positions:
        return Positions.decode(self.database(number).metadata())

    def close_database(self, number: int = 0) -> None:
        self._databases.pop(TaskId(0, number)).close()

    def close(self) -> None:
        self.restorer.close()
        for number in list(self._databases):
            self._databases.pop(number).close()


@contextmanager
def restoring(bootstrap_servers: str, directory: Path, **config: Any) -> Iterator[Restoring]:
    made = Restoring(bootstrap_servers, directory, **config)
    try:
        yield made
    finally:
        made.close()


def changelog_of(
    create: Callable[..., None], topic: str, partitions: int = 1, **settings: str
) -> None:
    """Create a changelog topic as Streamer does."""
    own = changelog_settings(Config(application_id="any")) | {
        name.replace("_", "."): value for name, value in settings.items()
    }
    create(topic, partitions=partitions, **{name.replace(".", "_"): own[name] for name in own})


def new_changelog(kafka: Any, topic: str) -> Changelog:
    """Create a changelog topic of one partition, to be written."""
    changelog_of(kafka.create, topic)
    return Changelog(kafka.bootstrap_servers, topic)
