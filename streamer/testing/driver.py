"""`TopologyTestDriver`: an application in a test, without Kafka.

The engine, the caches, the commit and RocksDB are those of the product; only the broker is in
memory and the clock moves by hand. So what passes here passes for the same reasons in production,
crashes included.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from streamer.closable import Closable
from streamer.config import Config
from streamer.engine.sendable import check_headers, check_time
from streamer.errors import SerdeError, StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.fake import FakeBroker
from streamer.layout import ApplicationLayout
from streamer.record import Headers, Record
from streamer.testing.folding import folded
from streamer.testing.life import Life
from streamer.testing.moments import Moment, milliseconds_of
from streamer.testing.stage import build_stage
from streamer.testing.topics import Topics
from streamer.testing.trouble import Killed, Trouble
from streamer.testing.views import Part, StoreView
from streamer.topology.app import App
from streamer.topology.graph import Topology
from streamer.topology.serde import Serde

__all__ = ["TopologyTestDriver"]


class TopologyTestDriver(Closable):
    """Runs an application's topology in this process.

    with TopologyTestDriver(app) as driver:
        driver.send("purchases", "ann", Purchase(250), at="2026-01-01T00:10Z")
        driver.crash(lose_disk=True)
        assert driver.store("totals")["ann"] == Spend(1, 250)

    `partitions` is the number for all topics, or for topics by name (others have 1); `tasks` that
    of each subtopology's tasks, where they are to be fewer: it divides the partitions. Each `send`
    is processed and committed at once; with `auto_commit=False` records wait, and one `commit()`
    processes them as a batch. With a `seed` the process is killed, loses its disk or has its
    transaction aborted at places chosen by it, which must not change what a test sees. Settings
    are those of `App`. Environment and configuration files are not read.
    """

    def __init__(
        self,
        app: App,
        *,
        partitions: int | Mapping[str, int] = 1,
        tasks: int | None = None,
        start: Moment = "2026-01-01T00:00Z",
        seed: int | None = None,
        auto_commit: bool = True,
        **settings: Any,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="streamer-test-")
        self._auto_commit = auto_commit
        self._trouble = Trouble(seed)
        self._lives = 0
        self._raised: set[TaskId] = set()
        try:
            self._stage = build_stage(
                app,
                Path(self._folder.name),
                partitions=partitions,
                tasks=tasks,
                start_ms=milliseconds_of(start),
                settings=settings,
            )
            self._topics = Topics(self._stage.topology, self._stage.config, self.layout)
            self._life = self._born()
        except BaseException:
            self._folder.cleanup()
            raise
        if self._life.failures:
            self.close()
            self._raise_failure()

    # -- records -------------------------------------------------------------------------------

    def send(
        self,
        topic: str,
        key: Any,
        value: Any,
        *,
        at: Moment | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> None:
        """Write a record to an input topic, and process it unless `auto_commit` is off.

        Key and value go through the source's serdes; bytes are written as they are, so that a test
        can send what cannot be decoded. `at` is the record's timestamp, by default now.

        Raises the error of a task that stopped because of it, once; see `failures`. Raises
        ProcessingError for a time or headers that no record can have.
        """
        self._write(topic, key, value, at=at, headers=headers, partition=partition)
        if self._auto_commit:
            self.commit()

    def send_many(self, topic: str, records: Iterable[tuple[Any, ...]]) -> None:
        """Write records `(key, value)` or `(key, value, at)` and process them as one batch."""
        for key, value, *rest in records:
            self._write(topic, key, value, at=rest[0] if rest else None)
        if self._auto_commit:
            self.commit()

    def _write(
        self,
        topic: str,
        key: Any,
        value: Any,
        *,
        at: Moment | None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> None:
        _check_open(self._folder)
        serdes = self._topics.source(topic)
        timestamp_ms = self.now_ms if at is None else milliseconds_of(at)
        check_time("send(at=...)", timestamp_ms)
        check_headers("send(headers=...)", headers or [])
        raw_key = _encoded(serdes.key, key, f"the key for {topic!r}")
        broker = self._stage.broker
        chosen = broker.choose(topic, raw_key) if partition is None else partition
        broker.append(
            TopicPartition(topic, chosen),
            raw_key,
            _encoded(serdes.value, value, f"the value for {topic!r}"),
            timestamp_ms=timestamp_ms,
            headers=headers,
        )

    def read(self, topic: str) -> list[tuple[Any, Any]]:
        """All committed records of a topic, `(key, value)`, in the order they were written."""
        return [(record.key, record.value) for record in self.read_records(topic)]

    def read_records(self, topic: str) -> list[Record]:
        """As `read`, with timestamps, headers, partitions and offsets."""
        return self._topics.decoded(topic, self._stage.broker.records(self._topics.name(topic)))

    def store(self, name: str) -> StoreView:
        """The committed values of a store, over all tasks."""
        _check_open(self._folder)
        topology = self._stage.topology
        number = topology.subtopology_of_store(name).number
        spec = next(spec for spec in topology.stores if spec.name == name)
        serdes = self._topics.of_store(spec)
        parts = [
            Part.of(active, spec)
            for task, active in self._life.tasks.items()
            if task.subtopology == number
        ]
        return StoreView(spec, parts, key=serdes.key, value=serdes.value)

    # -- time, commits and crashes -------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """The wall clock, which only `advance` moves."""
        return self._stage.clock.now_ms()

    def advance(self, **duration: float) -> None:
        """Let time pass, as in `advance(minutes=5)`; then do what is due and commit."""
        self._stage.clock.advance(timedelta(**duration) // timedelta(milliseconds=1))
        self._run()

    def commit(self) -> None:
        """Process all that waits, also what goes through repartition topics, and commit it.

        Raises the error of a task that stopped.
        """
        self._run()

    def process(self) -> None:
        """Process all that waits without a commit: a crash takes it back."""
        while self._guarded(self._life.process):
            pass
        self._raise_failure()

    def crash(self, *, lose_disk: bool = False) -> None:
        """Kill the process now and start it again, on its disk or on an empty one."""
        self._life = self._reborn(lose_disk=lose_disk)
        if self._auto_commit:
            self._run()
        self._raise_failure()

    def repartition(self, tasks: int) -> None:
        """Process and commit all that waits, then go on with so many tasks for each part of the
        topology, as after `streamer repartition`. Raises TopologyError and OperationRefusedError
        for a number that cannot be."""
        self.commit()
        self._stage = folded(self._stage, tasks)
        self._topics = Topics(self._stage.topology, self._stage.config, self.layout)
        self._life.close()
        self._life = self._born()
        self._raise_failure()

    @property
    def failures(self) -> dict[TaskId, StreamerError]:
        """The tasks that stopped, and why. The others go on."""
        return dict(self._life.failures)

    @property
    def restored(self) -> dict[TaskId, int]:
        """How many changelog records each task took to be complete when it was last opened."""
        return dict(self._life.restored)

    @property
    def broker(self) -> FakeBroker:
        """The broker, to look at raw records or to ask for faults."""
        return self._stage.broker

    @property
    def topology(self) -> Topology:
        return self._stage.topology

    @property
    def layout(self) -> ApplicationLayout:
        """Which task reads which partitions."""
        return self._stage.planned.layout

    @property
    def config(self) -> Config:
        return self._stage.config

    def _run(self) -> None:
        while True:
            count = self._guarded(lambda: self._life.process(records_max=self._trouble.records()))
            if count and self._trouble.waits():
                continue
            if self._life.needs_commit:
                self._guarded(self._committed)
            elif not count:
                break
        self._raise_failure()

    def _committed(self) -> int:
        with self._trouble.at_commit(self._stage.broker):
            self._life.commit()
        return 1

    def _guarded(self, act: Any) -> int:
        """Act, and come to life again where the seed says that the process dies of it."""
        _check_open(self._folder)
        try:
            return int(act())
        except Killed as killed:
            self._life = self._reborn(lose_disk=killed.loses_disk)
            return 1

    def _raise_failure(self) -> None:
        for task, error in self._life.failures.items():
            if task not in self._raised:
                self._raised.add(task)
                raise error

    # -- life ----------------------------------------------------------------------------------

    def _born(self) -> Life:
        self._lives += 1
        self._raised.clear()
        return Life(self._stage, Path(self._folder.name) / f"life-{self._lives}")

    def _reborn(self, *, lose_disk: bool) -> Life:
        _check_open(self._folder)
        old = self._life
        if not lose_disk:
            old.copy_files(Path(self._folder.name) / f"life-{self._lives + 1}")
        old.close()
        return self._born()

    def close(self) -> None:
        """Close the databases and remove them. Idempotent."""
        self._life.close()
        self._folder.cleanup()


def _check_open(folder: tempfile.TemporaryDirectory[str]) -> None:
    if not Path(folder.name).exists():
        raise StreamerError(
            "the driver is closed, so nothing is processed any more",
            hint="send records, and look at stores, inside of its `with` block",
        )


def _encoded(serde: Serde[Any], item: Any, what: str) -> bytes | None:
    if item is None or isinstance(item, bytes):
        return item
    try:
        return serde.encode(item)
    except Exception as error:
        raise SerdeError(
            f"{what} is {item!r} ({type(item).__name__}), not {serde.name}: {error}",
            hint="send what the source's serde takes, or the bytes themselves",
        ) from error
