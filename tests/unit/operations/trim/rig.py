"""An application in memory for tests of trims: logs, control records, a repository, a clock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.messages import (
    FORMAT,
    AssignmentRecord,
    StandbyReport,
    StatusRecord,
    TaskReport,
)
from streamer.control.orders import Order
from streamer.ids import TaskId, TopicPartition, changelog_topic
from streamer.kafka.fake import FakeBroker
from streamer.layout import ApplicationLayout
from streamer.operations.books import read_books
from streamer.operations.fake import FakeTable
from streamer.operations.trim.facts import Rules
from streamer.operations.trim.ports import Told
from streamer.operations.trim.world import World
from streamer.snapshot.checkpoint import SourceFile
from streamer.snapshot.create import About, create
from streamer.snapshot.manifest import Manifest, Position
from streamer.snapshot.repository import Repository
from streamer.snapshot.verified import Level, note_verified
from tests.unit.snapshot.memory import Disk, MemoryBackend
from tests.unit.snapshot.rig import HOUR_MS, repository

APPLICATION = "app"
TASK = TaskId(0, 3)
TOPIC = changelog_topic(APPLICATION, "totals")
PLACE = TopicPartition(TOPIC, 3)
DAY_MS = 24 * HOUR_MS
SETTINGS = {
    "cleanup.policy": "compact,delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "delete.retention.ms": str(7 * DAY_MS),
    "segment.bytes": "1000",
}


@dataclass
class FakeLogs:
    """Logs that are nothing but their bounds. `before` is called with each request."""

    bounds: dict[TopicPartition, tuple[int, int]] = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _what: None

    def topics(self) -> dict[str, int]:
        self.before("topics")
        return {place.topic: 8 for place in self.bounds}

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        return {topic: self.ids.get(topic, "") for topic in topics}

    def topic_settings(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        return {topic: self.settings[topic] for topic in topics if topic in self.settings}

    def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self.before("starts")
        return {place: self.bounds[place][0] for place in partitions}

    def ends(
        self, partitions: Iterable[TopicPartition], isolation: Any = "read_committed"
    ) -> dict[TopicPartition, int]:
        assert isolation == "read_uncommitted"
        return {place: self.bounds[place][1] for place in partitions}

    def delete_before(self, positions: Mapping[TopicPartition, int]) -> None:
        self.before("delete")
        for place, to in positions.items():
            start, end = self.bounds[place]
            assert to <= end, "Kafka refuses that"
            self.bounds[place] = max(start, to), end


@dataclass
class FakeControl:
    """Control records as a test sets them; operations are those of the table."""

    table: FakeTable
    assignments: dict[str, AssignmentRecord] = field(default_factory=dict)
    statuses: dict[str, StatusRecord] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    refused: dict[str, Any] = field(default_factory=dict)
    layout: ApplicationLayout = field(default_factory=ApplicationLayout)
    before: Callable[[str], None] = lambda _what: None

    def read(self) -> Told:
        self.before("control")
        books = read_books(APPLICATION, self.table.read(to_end=True))
        return Told(
            dict(self.assignments),
            dict(self.statuses),
            tuple(self.orders),
            books,
            self.refused,
            self.layout,
        )

    def close(self) -> None:
        return


class Files:
    """A source whose files are at hand."""

    def __init__(self, **files: bytes) -> None:
        self._contents = {"CURRENT": b"current", **files}

    def files(self) -> list[SourceFile]:
        return [
            SourceFile(name, len(raw), hashlib.sha256(raw).hexdigest())
            for name, raw in sorted(self._contents.items())
        ]

    def read(self, file: SourceFile) -> Iterator[bytes]:
        yield self._contents[file.name]


class Quiet:
    """A step's work that nobody replaces and nobody looks at."""

    operation = "trim-1"
    epoch = 1

    def check(self) -> None:
        return

    def progress(self, **_told: Any) -> None:
        return


def about(positions: Mapping[TopicPartition, int], created_ms: int) -> About:
    return About(
        created_ms=created_ms,
        created_by="worker-1",
        stores={"totals": "key_value"},
        changelog=tuple(Position(*place, at) for place, at in positions.items()),
        input=(),
    )


class Application:
    """One application: a log from 0 to 1,000, and nothing else yet."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_700_000_000_000)
        self.disk = Disk(now_ms=self.clock.now_ms())
        self.backend = MemoryBackend(self.disk)
        self.place: Repository = repository(self.backend)
        self.broker = FakeBroker(partition_of=lambda _key, _count: 0, now_ms=self.clock.now_ms)
        self.logs = FakeLogs({PLACE: (0, 1_000)}, {TOPIC: dict(SETTINGS)})
        self.control = FakeControl(FakeTable(self.broker, APPLICATION))
        self.rules = Rules(percent_max=100)
        self.has_repository = True

    @property
    def shelf(self) -> Any:
        return self.place.shelf(APPLICATION, TASK)

    def world(self) -> World:
        return World(
            APPLICATION,
            logs=self.logs,
            control=self.control,
            repository=self.place if self.has_repository else None,
            rules=self.rules,
            wall_ms=self.clock.now_ms,
        )

    @contextmanager
    def opened(self, _config: Config) -> Iterator[World]:
        yield self.world()

    def snapshot(
        self, at: int, *, level: Level | None = "contents", place: TopicPartition = PLACE
    ) -> Manifest:
        """A snapshot of the task that stands there, verified unless that is None."""
        made = create(
            self.place,
            self.shelf,
            Files(a=str(at).encode()),
            about=about({place: at}, self.clock.now_ms()),
        )
        if level is not None:
            note_verified(self.shelf, made.manifest.stem, level)
        return made.manifest

    def wait(self, duration_ms: int) -> None:
        self.disk.now_ms = self.clock.advance(duration_ms)

    def says(
        self,
        worker: str,
        at: int | None,
        *,
        role: str = "active",
        state: str = "",
        incarnation: str = "s.0",
    ) -> None:
        """A worker has the task at this position, and says so; or tells no position."""
        durable = {} if at is None else {"totals": at}
        tasks: dict[str, TaskReport] = {}
        standbys: dict[str, StandbyReport] = {}
        if role == "active":
            tasks[str(TASK)] = TaskReport(state=state or "running", durable=durable)  # type: ignore[arg-type]
        else:
            standbys[str(TASK)] = StandbyReport(state=state or "standby", durable=durable)  # type: ignore[arg-type]
        self.control.statuses[worker] = StatusRecord(
            format=FORMAT,
            number=1,
            worker=worker,
            incarnation=incarnation,
            tasks=tasks,
            standbys=standbys,
            at_ms=self.clock.now_ms(),
        )

    def gives(
        self, worker: str, *, role: str = "active", incarnation: str = "s.0", ended: bool = False
    ) -> None:
        """A worker was given the task, or a copy of it."""
        names = (str(TASK),)
        self.control.assignments[worker] = AssignmentRecord(
            format=FORMAT,
            version=1,
            worker=worker,
            incarnation=incarnation,
            tasks=names if role == "active" else (),
            standbys=names if role == "standby" else (),
            ended=ended,
            at_ms=self.clock.now_ms(),
        )


def usual() -> Application:
    """Three verified snapshots, an active that is ahead of them."""
    made = Application()
    for at in (200, 500, 800):
        made.snapshot(at)
    made.gives("w1")
    made.says("w1", 950)
    return made
