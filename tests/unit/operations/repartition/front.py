"""What one process of an operation sees of the application in memory: a `World`, and its ports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from streamer.control.goals import decode_goal
from streamer.control.messages import StatusRecord
from streamer.control.orders import Order
from streamer.errors import FencedError, OperationRefusedError, UnfinishedError
from streamer.feed.fake import FakePorts
from streamer.feed.feed import Feed
from streamer.feed.pace import FeedProgress
from streamer.feed.plan import FeedPlan
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.admin import TopicSpec
from streamer.kafka.api import Committed
from streamer.layout import ApplicationLayout
from streamer.operations.repartition.ports import PlacedSeed, Row
from streamer.operations.repartition.request import Asked
from streamer.operations.repartition.seeds import SeedRecord
from streamer.topology.stores import StoreSpec

if TYPE_CHECKING:
    from tests.unit.operations.repartition.rig import Shop

T = TypeVar("T")

NAME = "app"
ORDERS = TopicPartition("app.orders", 0)


class Alone:
    """An application beside which no other one is."""

    def others(self, _application: str) -> Mapping[str, StatusRecord]:
        return {}

    def snapshot(self, _application: str, _task: TaskId, _record: SeedRecord) -> PlacedSeed:
        raise AssertionError("nobody begins with one")


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

    def feeding(self, asked: Asked, guard: Callable[[], None]) -> Steps:
        if self._feeding is None:
            self._feeding = Steps(self.shop, self.ports, asked.feeds, guard)
        return self._feeding

    def specs(self, _asked: Asked, _plan: FeedPlan) -> Sequence[StoreSpec]:
        return ()

    def close(self) -> None:
        if self._feeding is not None:
            self._feeding.halt()

    def now_ms(self) -> int:
        return self.shop.clock.now_ms()

    def others(self, application: str) -> Mapping[str, StatusRecord]:
        return self.shop.others(application)

    def snapshot(self, application: str, task: TaskId, record: SeedRecord) -> PlacedSeed:
        return self.shop.snapshot(application, task, record)

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
        # Brokers take positions of what is there.
        widths = self._shop.broker.topics
        assert all(place.partition < widths[place.topic] for place in positions)
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

    def grow(self, wanted: Mapping[str, int], *, tries_only: bool = False) -> None:
        if self._shop.ungrown is not None:
            raise self._shop.ungrown
        for topic, width in wanted.items():
            if self._shop.broker.topics[topic] < width and not tries_only:
                self._shop.broker.create(topic, width)

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

    def draining(self) -> frozenset[str]:
        return frozenset(self._shop.draining)


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
                    seed=self._shop.seeds.get(task),
                    clock=self._shop.clock,
                    guard=self._guard,
                )
                self._feeds.append((plan, feed))
