"""An application in memory that was folded, and what its former layout has left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from msgspec.structs import replace

from streamer.config import Config
from streamer.control.messages import StatusRecord
from streamer.control.operations import encode, operation_key
from streamer.control.orders import FORMER_KEY, FormerOrder, Order
from streamer.kafka.readers import Reader
from streamer.layout import ApplicationLayout
from streamer.operations.books import Books, read_books
from streamer.operations.completion.kind import Completion
from streamer.operations.completion.ports import Present
from streamer.operations.completion.request import Asked
from streamer.operations.completion.survey import asked_of
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.kinds import Kinds
from streamer.testing.kills import OperationScene
from tests.unit.operations.repartition.front import NAME, ORDERS
from tests.unit.operations.repartition.rig import Shop, counting, planned

HOLDS = "0_0"
STATES = {"a": {"1_0": 100, HOLDS: 7}, "b": {"1_1": 50}}
"""What workers have on their disks: of the layout that was left, and of the one that holds."""
FORMER = {"app-cities-changelog", "app-cities-repartition"}


class Left:
    """The cities were folded, behind a topic of their own, and the totals were not; or a shop as
    it is."""

    def __init__(self, shop: Shop | None = None) -> None:
        self.shop = shop or Shop({1: 1}, width=2)
        self.operation = self._folded() if shop is None else ""
        self.states = {worker: dict(each) for worker, each in STATES.items()}
        self.readers: list[Reader] = []
        self.stubborn: set[str] = set()
        self.idle: set[str] = set()
        self.makes_anew: set[str] = set()
        self.app = counting()
        self.at_delete: Callable[[], object] = lambda: None

    def _folded(self) -> str:
        """As an operation leaves it that is done; its id."""
        shop = self.shop
        record = shop.executor().propose("repartition", shop.asked.plain())
        for topics in (shop.asked.changelogs, shop.asked.repartition):
            for topic, width in topics.items():
                shop.broker.create(topic, width)
        shop.told.layout, shop.told.by = shop.asked.after.layout, record.id
        done = replace(record, state="done", epoch=1, ended_ms=shop.clock.now_ms())
        FakeTable(shop.broker, NAME).put(operation_key(record.id), encode(done))
        return record.id

    @property
    def asked(self) -> Asked:
        return self.of()

    def of(self, *operations: str, **more: Any) -> Asked:
        layout = self.shop.told.layout
        assert layout is not None
        return asked_of(NAME, self.books(), layout, operations=operations, **more)

    def books(self) -> Books:
        return read_books(NAME, FakeTable(self.shop.broker, NAME).read(to_end=True))

    def obey(self) -> None:
        """Workers remove what the standing order names."""
        order = self.shop.orders().get(FORMER_KEY)
        for worker, states in self.states.items():
            if isinstance(order, FormerOrder) and worker not in self.stubborn:
                for name in [name for name in states if order.names(name)]:
                    del states[name]

    def told(self, worker: str) -> dict[str, int]:
        """What a worker says that it has of former layouts."""
        return {name: size for name, size in self.states[worker].items() if name != HOLDS}

    # -- operations ------------------------------------------------------------------------------

    def open(self, _config: Config) -> AbstractContextManager[Front]:
        return self._opened()

    @contextmanager
    def _opened(self) -> Iterator[Front]:
        yield Front(self)

    def kinds(self) -> Kinds:
        return Kinds([Completion(self.open)])

    def executor(self) -> Executor:
        table = FakeTable(self.shop.broker, NAME)
        clock = self.shop.clock
        return Executor(self.shop.config, table, self.kinds(), clock=clock, pulses=False)

    def completed(self, asked: Asked | None = None) -> Any:
        """The record of a completion when it has ended."""
        executor = self.executor()
        return executor.start(executor.propose("completion", (asked or self.asked).plain()).id)

    def scene(self) -> OperationScene:
        return OperationScene(
            "completion",
            self.asked.plain(),
            kinds=self.kinds(),
            broker=self.shop.broker,
            clock=self.shop.clock,
            end=self.end,
        )

    def end(self) -> dict[str, object]:
        """Everything that must be the same, however the operation came there. Workers do their part
        without it."""
        self.obey()
        order = self.shop.orders().get(FORMER_KEY)
        return {
            "topics": set(self.shop.broker.topics),
            "left": order.left if isinstance(order, FormerOrder) else None,
            "states": self.states,
            "layout": self.shop.told.layout,
        }


class Front:
    """A `World`: what one process sees of it."""

    place = ORDERS

    def __init__(self, left: Left) -> None:
        self._left = left
        self._shop = left.shop

    def books(self) -> Books:
        return self._left.books()

    def recorded(self) -> ApplicationLayout:
        return self._shop.told.layout or ApplicationLayout()

    def present(self) -> Present:
        return Present(planned(self._left.app, self._shop.width, self.recorded()), "next")

    def topics(self) -> Mapping[str, int]:
        return self._shop.broker.topics

    def readers(self, topics: Mapping[str, int]) -> Sequence[Reader]:
        return [one for one in self._left.readers if topics.keys() & set(one.topics)]

    def delete(self, topics: Collection[str]) -> None:
        self._left.at_delete()
        for topic in topics:
            self._shop.broker.delete(topic)
            if topic in self._left.makes_anew:
                self._shop.broker.create(topic, 1)

    def orders(self) -> Mapping[str, Order]:
        return self._shop.orders()

    def statuses(self) -> Mapping[str, StatusRecord]:
        self._left.obey()
        idle = self._left.idle
        return {
            worker: replace(
                one,
                former=self._left.told(worker),
                tasks={name: said for name, said in one.tasks.items() if name not in idle},
            )
            for worker, one in self._shop.statuses().items()
        }

    def now_ms(self) -> int:
        return self._shop.clock.now_ms()

    def wait(self) -> None:
        self._shop.clock.advance(1_000)
