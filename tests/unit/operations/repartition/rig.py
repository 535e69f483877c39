"""An application in memory whose number of tasks is changed.

It goes on until it is paused, its workers do what they are told a moment later, and its feeds are
real ones that take a step whenever somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from streamer import App, TumblingWindows
from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.messages import StandbyReport, StatusRecord, TaskReport
from streamer.control.orders import Order, ShadowOrder, decode_order
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Committed
from streamer.kafka.fake import FakeBroker
from streamer.layout import ApplicationLayout, Mode
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.kinds import Kinds
from streamer.operations.repartition.kind import Repartition
from streamer.operations.repartition.request import Asked, ask
from streamer.operations.repartition.seeds import SeedRecord
from streamer.store.keys import row
from streamer.store.reading import Block
from streamer.task.metadata import Metadata, marks
from streamer.testing.kills import OperationScene
from streamer.topology.graph import Topology
from streamer.topology.partitioner import partition_of
from streamer.topology.partitions import Partitions, partitions
from tests.unit.operations.repartition.front import NAME, ORDERS, Alone, Shopfront

INPUT = "sales"
OWN = "app-cities-repartition"

KEYS = [f"customer-{number}".encode() for number in range(10)]
WORKERS = ("a", "b")
_ROUNDS = 4


def counting() -> App:
    """Two subtopologies: totals of a topic of others, and cities behind a topic of its own."""
    app = App(NAME)
    sales = app.stream(INPUT, key=str, value=int)
    sales.group_by_key().count(store="totals")
    by_city = sales.group_by(lambda _key, _value: "city", key=str, name="cities")
    by_city.count(store="cities")
    return app


def final() -> App:
    app = App(NAME)
    windows = TumblingWindows(timedelta(seconds=1))
    sales = app.stream(INPUT, key=str, value=int).group_by_key()
    sales.windowed_by(windows).count(store="totals", emit="final").to("out")
    return app


def planned(app: App, width: int = 4, layout: ApplicationLayout | None = None) -> Partitions:
    return partitions(app.topology(), {INPUT: width}, layout)


def asked(
    tasks: Mapping[int, int],
    app: App | None = None,
    *,
    width: int = 4,
    layout: ApplicationLayout | None = None,
    number: str = "fold-1",
    mode: Mode | None = None,
) -> Asked:
    made = app or counting()
    holds = planned(made, width, layout).layout
    return ask(made.topology(), holds, tasks, number=number, mode=mode)


def note(time_ms: int, topics: Iterable[str], topology: Topology, subtopology: int) -> str:
    known = marks(topics, topology.subtopologies[subtopology].stores)
    return Metadata(time_ms, known).encode()


def _nothing() -> None:
    pass


@dataclass
class Kept:
    """A `Seed`: the rows of a task's stores, as a snapshot has them."""

    positions: dict[str, int] = field(default_factory=dict)
    rows: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    as_of_ms: int = 0

    def blocks(self, store: str) -> Iterator[Block]:
        for key, one in sorted(self.rows[store].items()):
            yield Block([key], [one])

    def close(self) -> None:
        pass


@dataclass
class Told:
    """What a switch has left."""

    layout: ApplicationLayout | None = None
    by: str = ""
    goal: dict[TaskId, tuple[str, ...]] = field(default_factory=dict)

    def layout_is_next(self, asked: Asked) -> bool:
        return self.layout is not None and self.layout.number >= asked.after.number


class Shop(Alone):
    """The application and all that an operation needs of it; every process opens it anew."""

    def __init__(
        self,
        tasks: Mapping[int, int] | None = None,
        *,
        width: int = 4,
        mode: Mode | None = None,
        **settings: Any,
    ) -> None:
        self.width = width
        self.clock = ManualClock(1_000_000)
        self.broker = FakeBroker(partition_of=partition_of, now_ms=self.clock.now_ms)
        self.topology = counting().topology()
        self.asked = asked(tasks or {0: 2, 1: 2}, width=width, mode=mode)
        self.config = Config(application_id=NAME, bootstrap_servers="127.0.0.1:9", **settings)
        self.told = Told()
        self.settings: dict[str, dict[str, str]] = {}
        self.rights = 0
        self.paused = 0
        self.rounds = 0
        self.kept: dict[str, dict[str, int]] = {}
        self.alive = set(WORKERS)
        self.draining: set[str] = set()
        self.refusal: Exception | None = None
        self.ungrown: Exception | None = None
        self.seeds: dict[int, Kept] = {}
        self.broken: set[str] = set()
        self.asked_shape = ""
        self.restores_until_ms = 0
        self.at_pause: Callable[[], object] = _nothing
        self.at_right: Callable[[], object] = _nothing
        self.after_copy: Callable[[], object] = _nothing
        self._make()

    def _make(self) -> None:
        made = planned(counting(), self.width)
        for topic, width in (*made.sources.items(), *made.changelogs.items()):
            self.broker.create(topic, width)
        self.broker.create(ORDERS.topic, 1)
        group = self.broker.groups.setdefault(NAME, {})
        for partition in range(self.width):
            for topic, subtopology in ((INPUT, 0), (OWN, 1)):
                place = TopicPartition(topic, partition)
                self.broker.append(place, KEYS[partition], b"1")
                said = note(100 + partition, [topic], self.topology, subtopology)
                group[place] = Committed(1, said)
        self.process()

    def next(self, asked: Asked) -> None:
        """Another operation, on what the last one has left."""
        self.asked, self.rounds = asked, 0
        for worker in WORKERS:
            self.kept[worker] = {}
        self.process()

    def trim(self) -> None:
        """What lies before snapshots of all tasks, made just now, is gone. Of one feed plan."""
        (plan,) = self.asked.feeds
        records = {}
        for task in plan.tasks:
            seed = self.seeds[task.partition] = Kept(as_of_ms=self.clock.now_ms())
            for store in plan.stores:
                place = TopicPartition(store.source, task.partition)
                seed.positions[store.name] = self.broker.bounds(place)[1]
                seed.rows[store.name] = _live({}, self.broker.partition_records(place))
                self.broker.delete_before(place, seed.positions[store.name])
            records[str(task)] = SeedRecord(
                repository="file:///snapshots",
                layout=1,
                stem="one",
                positions=seed.positions,
                as_of_ms=seed.as_of_ms,
                bytes=1,
            )
        self.asked = msgspec.structs.replace(self.asked, seeds=records)

    # -- what the application does ---------------------------------------------------------------

    def process(self) -> None:
        """A commit of all its tasks, so long as there is input and nobody has paused it."""
        if self.paused or self.told.layout_is_next(self.asked) or self.rounds >= _ROUNDS:
            return
        self.rounds += 1
        for plan in self.asked.feeds:
            here, _there = plan.homes()
            for store in plan.stores:
                for number, key in enumerate(KEYS):
                    is_gone = (number + self.rounds) % 5 == 0
                    value = None if is_gone else row(0, b"%d" % self.rounds)
                    self.broker.append(TopicPartition(store.source, here.home(key)), key, value)

    def follow(self) -> None:
        """What workers have been told, each with a lag that it works off from look to look."""
        standing = {
            one.worker: one for one in self.orders().values() if isinstance(one, ShadowOrder)
        }
        for worker in WORKERS:
            order = standing.get(worker)
            wanted = set(order.tasks) if order is not None else set()
            is_next = self.told.layout_is_next(self.asked)
            kept = self.kept.setdefault(worker, {})
            for task in sorted(kept.keys() - wanted):
                if not is_next:
                    del kept[task]
            for task in sorted(wanted):
                kept[task] = max(kept.get(task, 30_000) - 12_000, 0)

    # -- the world -------------------------------------------------------------------------------

    def open(self, _config: Config) -> AbstractContextManager[Shopfront]:
        return self._opened()

    @contextmanager
    def _opened(self) -> Iterator[Shopfront]:
        front = Shopfront(self)
        try:
            yield front
        finally:
            front.close()

    def orders(self) -> dict[str, Order]:
        found: dict[str, Order] = {}
        for record in self.broker.partition_records(ORDERS):
            key = (record.key or b"").decode()
            found.pop(key, None)
            if record.value is not None:
                found[key] = decode_order(ORDERS.topic, key, record.value)
        return found

    def statuses(self) -> dict[str, StatusRecord]:
        self.follow()
        is_next = self.told.layout_is_next(self.asked)
        layout = (self.asked.after if is_next else self.asked.before).layout
        living = sorted(self.alive)
        if not living:
            return {}
        owned: dict[str, dict[str, TaskReport]] = {worker: {} for worker in living}
        for number, task in enumerate(layout.tasks):
            worker = living[number % len(living)]
            if is_next and task in self.told.goal:
                worker = self.told.goal[task][0]
            is_late = number == 1 and self.clock.now_ms() < self.restores_until_ms
            owned[worker][str(task)] = TaskReport(state="restoring" if is_late else "running")
        standing = any(isinstance(one, ShadowOrder) for one in self.orders().values())
        return {
            worker: StatusRecord(
                format=1,
                number=1,
                worker=worker,
                incarnation="0123456789abcdef.1",
                tasks=owned[worker],
                shadows={}
                if is_next
                else {
                    task: StandbyReport(
                        lag_records=lag, state="failed" if worker in self.broken else "standby"
                    )
                    for task, lag in self.kept[worker].items()
                },
                shadows_of=self.asked.number if standing and not is_next else "",
                shape=self.asked_shape or ("next" if is_next else self.asked.shape),
                host=f"host-{worker}",
            )
            for worker in living
        }

    # -- operations ------------------------------------------------------------------------------

    def kinds(self) -> Kinds:
        return Kinds([Repartition(self.open)])

    def executor(self) -> Executor:
        table = FakeTable(self.broker, NAME)
        return Executor(self.config, table, self.kinds(), clock=self.clock, pulses=False)

    def scene(self, end: Callable[[], object]) -> OperationScene:
        return OperationScene(
            "repartition",
            self.asked.plain(),
            kinds=self.kinds(),
            broker=self.broker,
            clock=self.clock,
            end=end,
        )

    # -- what is there at the end ----------------------------------------------------------------

    def left(self) -> dict[str, object]:
        """What an operation may leave that is not meant to stay."""
        return {
            "groups": [
                group for group, at in self.broker.groups.items() if ".feed." in group and at
            ],
            "orders": sorted(self.orders()),
            "paused": self.paused,
        }

    def untouched(self) -> dict[str, object]:
        """As it was before, which is what one that was cancelled leaves."""
        return self.left() | {
            "topics": sorted(topic for topic in self.broker.topics if "layout-" in topic),
            "kept": {worker: tasks for worker, tasks in self.kept.items() if tasks},
            "layout": (self.told.layout or ApplicationLayout()).number,
            "input": self.broker.topics[INPUT],
        }

    def end(self) -> dict[str, object]:
        """Everything that must be the same, however the operation came there."""
        return self.left() | {
            "layout": (self.told.layout, self.told.by),
            "goal": {task: len(workers) for task, workers in self.told.goal.items()},
            "settings": self.settings,
            "positions": self.broker.groups[NAME],
            "input": self.broker.topics[INPUT],
            "is copied": self.is_copied(),
        }

    def is_copied(self) -> bool:
        """Whether the next changelogs have the same records of each key, each at home."""
        for plan in self.asked.feeds:
            _here, there = plan.homes()
            for store in plan.stores:
                if store.target not in self.broker.topics:
                    return False
                if self.seeds:
                    rows = {
                        key: one
                        for seed in self.seeds.values()
                        for key, one in seed.rows[store.name].items()
                    }
                    wanted = _live(rows, self.broker.records(store.source))
                    if wanted != _live({}, self.broker.records(store.target)):
                        return False
                elif self._changes(store.source) != self._changes(store.target):
                    return False
                for record in self.broker.records(store.target):
                    assert record.partition == there.home(record.key or b"")
        return True

    def _changes(self, topic: str) -> dict[bytes | None, list[bytes | None]]:
        found: dict[bytes | None, list[bytes | None]] = {}
        for record in self.broker.records(topic):
            found.setdefault(record.key, []).append(record.value)
        return found


def _live(rows: Mapping[bytes, bytes], records: Iterable[Any]) -> dict[bytes, bytes]:
    """What rows come to with these records."""
    found = dict(rows)
    for record in records:
        found.pop(record.key, None)
        if record.value is not None:
            found[record.key] = record.value
    return found


def started(shop: Shop) -> Any:
    """The operation's record when it has ended."""
    executor = shop.executor()
    return executor.start(executor.propose("repartition", shop.asked.plain()).id)
