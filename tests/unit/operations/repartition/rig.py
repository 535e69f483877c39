"""An application in memory whose number of tasks is changed.

It goes on until it is paused, its workers do what they are told a moment later, and its feeds are
real ones that take a step whenever somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from streamer import App, TumblingWindows
from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.goals import decode_goal
from streamer.control.messages import StandbyReport, StatusRecord, TaskReport
from streamer.control.orders import Order, ShadowOrder, decode_order
from streamer.errors import FencedError, OperationRefusedError, UnfinishedError
from streamer.feed.feed import Feed
from streamer.feed.pace import FeedProgress
from streamer.feed.plan import FeedPlan
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.admin import TopicSpec
from streamer.kafka.api import Committed
from streamer.kafka.fake import FakeBroker
from streamer.layout import ApplicationLayout
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.kinds import Kinds
from streamer.operations.repartition.kind import Repartition
from streamer.operations.repartition.ports import Row
from streamer.operations.repartition.request import Asked, ask
from streamer.store.keys import row
from streamer.task.metadata import Metadata, marks
from streamer.testing.kills import OperationScene
from streamer.topology.graph import Topology
from streamer.topology.partitioner import partition_of
from streamer.topology.partitions import Partitions, partitions
from tests.unit.feed.rig import FakePorts

T = TypeVar("T")

NAME = "app"
INPUT = "sales"
OWN = "app-cities-repartition"
ORDERS = TopicPartition("app.orders", 0)
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
) -> Asked:
    made = app or counting()
    return ask(made.topology(), planned(made, width, layout).layout, tasks, number=number)


def note(time_ms: int, topics: Iterable[str], topology: Topology, subtopology: int) -> str:
    known = marks(topics, topology.subtopologies[subtopology].stores)
    return Metadata(time_ms, known).encode()


def _nothing() -> None:
    pass


@dataclass
class Told:
    """What a switch has left."""

    layout: ApplicationLayout | None = None
    by: str = ""
    goal: dict[TaskId, tuple[str, ...]] = field(default_factory=dict)

    def layout_is_next(self, asked: Asked) -> bool:
        return self.layout is not None and self.layout.number >= asked.after.number


class Shop:
    """The application and all that an operation needs of it; every process opens it anew."""

    def __init__(
        self, tasks: Mapping[int, int] | None = None, *, width: int = 4, **settings: Any
    ) -> None:
        self.width = width
        self.clock = ManualClock(1_000_000)
        self.broker = FakeBroker(partition_of=partition_of, now_ms=self.clock.now_ms)
        self.topology = counting().topology()
        self.asked = asked(tasks or {0: 2, 1: 2}, width=width)
        self.config = Config(application_id=NAME, bootstrap_servers="127.0.0.1:9", **settings)
        self.told = Told()
        self.settings: dict[str, dict[str, str]] = {}
        self.rights = 0
        self.paused = 0
        self.rounds = 0
        self.kept: dict[str, dict[str, int]] = {}
        self.alive = set(WORKERS)
        self.refusal: Exception | None = None
        self.broken: set[str] = set()
        self.asked_shape = ""
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
            owned[worker][str(task)] = TaskReport(state="running")
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
                shape=self.asked_shape or (self.asked.shape_after if is_next else self.asked.shape),
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
        }

    def end(self) -> dict[str, object]:
        """Everything that must be the same, however the operation came there."""
        return self.left() | {
            "layout": (self.told.layout, self.told.by),
            "goal": {task: len(workers) for task, workers in self.told.goal.items()},
            "settings": self.settings,
            "positions": self.broker.groups[NAME],
            "is copied": self.is_copied(),
        }

    def is_copied(self) -> bool:
        """Whether the next changelogs have the same records of each key, each at home."""
        for plan in self.asked.feeds:
            _here, there = plan.homes()
            for store in plan.stores:
                if store.target not in self.broker.topics:
                    return False
                if self._changes(store.source) != self._changes(store.target):
                    return False
                for record in self.broker.records(store.target):
                    assert record.partition == there.home(record.key or b"")
        return True

    def _changes(self, topic: str) -> dict[bytes | None, list[bytes | None]]:
        found: dict[bytes | None, list[bytes | None]] = {}
        for record in self.broker.records(topic):
            found.setdefault(record.key, []).append(record.value)
        return found


class Shopfront:
    """A `World`: what one process sees of the shop."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.config = shop.config
        self.ports = FakePorts(shop.broker)
        self.layouts = self
        self.topics = Topics(shop)
        self.workers = Staff(shop)
        self._feeding: Steps | None = None

    def feeding(self, plans: Iterable[FeedPlan], guard: Callable[[], None]) -> Steps:
        if self._feeding is None:
            self._feeding = Steps(self.shop, self.ports, plans, guard)
        return self._feeding

    def close(self) -> None:
        if self._feeding is not None:
            self._feeding.halt()

    def now_ms(self) -> int:
        return self.shop.clock.now_ms()

    def wait(self) -> None:
        self.shop.clock.advance(1_000)
        self.shop.process()

    def wait_shortly(self) -> None:
        self.wait()

    def beside(self, calls: Sequence[Callable[[], T]], tick: Callable[[], None]) -> list[T]:
        tick()
        return [call() for call in calls]

    def recorded(self) -> tuple[ApplicationLayout | None, str]:
        return self.shop.told.layout, self.shop.told.by

    def record_first(self, layout: ApplicationLayout, operation: str) -> None:
        self.shop.told.layout, self.shop.told.by = layout, operation

    @contextmanager
    def right(self) -> Iterator[FakeRight]:
        self.shop.at_right()
        self.shop.rights += 1
        yield FakeRight(self.shop, self.shop.rights)


class FakeRight:
    """A `Right`: of no use once another one was taken."""

    def __init__(self, shop: Shop, number: int) -> None:
        self._shop = shop
        self._number = number

    def pause(self, *, lease_ms: int, by: str = "") -> None:
        self._check()
        self._shop.paused = self._number
        self._shop.at_pause()

    def wait_until_held(self, *, timeout_s: float) -> None:
        if self._shop.refusal is not None:
            raise self._shop.refusal

    def lift(self) -> None:
        self._check()
        self._shop.paused = 0

    def switch(
        self,
        layout: ApplicationLayout,
        positions: Mapping[TopicPartition, Committed],
        *,
        operation: str = "",
        rows: Sequence[Row] = (),
    ) -> None:
        self._check()
        told = self._shop.told
        if told.layout is None or layout.number != told.layout.number + 1:
            raise OperationRefusedError("it does not follow")
        told.layout, told.by = layout, operation
        pieces = decode_goal({key: value for _place, key, value in rows}, "x", layout.number)
        for piece in pieces.values():
            told.goal |= {TaskId.parse(task): one for task, one in piece.copies.items()}
        self._shop.broker.groups[NAME].update(positions)
        self._shop.paused = 0

    def _check(self) -> None:
        if self._number != self._shop.rights:
            raise FencedError("somebody else has the right by now")


class Topics:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def topics(self) -> Mapping[str, int]:
        return self._shop.broker.topics

    def settings(self, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        return {topic: self._shop.settings[topic] for topic in topics}

    def create(self, topics: Sequence[TopicSpec]) -> None:
        for spec in topics:
            if spec.name not in self._shop.broker.topics:
                self._shop.broker.create(spec.name, spec.partitions)
                self._shop.settings[spec.name] = dict(spec.settings)

    def delete(self, topics: Collection[str]) -> None:
        for topic in topics:
            self._shop.broker.delete(topic)
            self._shop.settings.pop(topic, None)

    def alter(self, wanted: Mapping[str, Mapping[str, str | None]]) -> None:
        for topic, changed in wanted.items():
            for name, value in changed.items():
                self._shop.settings[topic].pop(name, None)
                if value is not None:
                    self._shop.settings[topic][name] = value

    def forget(self, groups: Collection[str]) -> None:
        for group in groups:
            self._shop.broker.producer(group).init()
            self._shop.broker.groups.pop(group, None)


class Staff:
    place = ORDERS

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def orders(self) -> Mapping[str, Order]:
        return self._shop.orders()

    def statuses(self) -> Mapping[str, StatusRecord]:
        return self._shop.statuses()


class Steps:
    """A `Feeding`: each feed takes a step whenever somebody asks."""

    def __init__(
        self,
        shop: Shop,
        ports: FakePorts,
        plans: Iterable[FeedPlan],
        guard: Callable[[], None],
    ) -> None:
        self._guard = guard
        self._shop = shop
        self._ports = ports
        self._plans = list(plans)
        self._feeds: list[tuple[FeedPlan, Feed]] = []

    def progress(self) -> list[FeedProgress]:
        self._begin()
        for _plan, feed in self._feeds:
            feed.step()
        return [feed.progress for _plan, feed in self._feeds]

    def halt(self) -> None:
        feeds, self._feeds = self._feeds, []
        for _plan, feed in feeds:
            feed.close()
        if feeds:
            self._shop.after_copy()

    def drain_to(self, ends: Mapping[TopicPartition, int], *, timeout_s: float) -> None:
        self._begin()
        for plan, feed in self._feeds:
            wanted = {one.name: ends[TopicPartition(one.source, feed.task)] for one in plan.stores}
            for _ in range(10):
                if not feed.behind(wanted):
                    break
                feed.step()
            else:
                raise UnfinishedError("the feeds do not come to the end")

    def _begin(self) -> None:
        if self._feeds:
            return
        for plan in self._plans:
            starts = dict.fromkeys((one.name for one in plan.stores), 0)
            for task in range(plan.source.tasks):
                feed = Feed(
                    plan,
                    task,
                    self._ports,
                    starts=starts,
                    clock=self._shop.clock,
                    guard=self._guard,
                )
                self._feeds.append((plan, feed))


def started(shop: Shop) -> Any:
    """The operation's record when it has ended."""
    executor = shop.executor()
    return executor.start(executor.propose("repartition", shop.asked.plain()).id)
