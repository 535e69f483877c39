"""What a repartition needs of the outside, as protocols; world.py has those of Kafka."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from streamer.changelog.format import Positions
from streamer.config import Config
from streamer.control.messages import StatusRecord
from streamer.control.orders import Order
from streamer.feed.pace import FeedProgress
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import Ports
from streamer.feed.seeds import Seed
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.admin import TopicSpec
from streamer.kafka.api import Committed
from streamer.layout import ApplicationLayout
from streamer.operations.repartition.request import Asked
from streamer.operations.repartition.seeds import SeedRecord
from streamer.topology.stores import StoreSpec

__all__ = ["Feeding", "Layouts", "PlacedSeed", "Right", "Row", "Topics", "Workers", "World"]

T = TypeVar("T")
Row = tuple[TopicPartition, str, bytes | None]


class Right(Protocol):
    """The right to record layouts, as `LayoutRight` has it."""

    def pause(self, *, lease_ms: int, by: str = "") -> None: ...

    def wait_until_held(self, *, timeout_s: float) -> None: ...

    def lift(self) -> None: ...

    def switch(
        self,
        layout: ApplicationLayout,
        positions: Mapping[TopicPartition, Committed],
        *,
        operation: str = "",
        rows: Sequence[Row] = (),
    ) -> None: ...


class Layouts(Protocol):
    """The record of the layout."""

    def recorded(self) -> tuple[ApplicationLayout | None, str]:
        """The one that holds, None where none is recorded; and the operation that wrote it."""
        ...

    def record_first(self, layout: ApplicationLayout, operation: str) -> None: ...

    def right(self) -> AbstractContextManager[Right]:
        """Taken from whoever has it."""
        ...


class Topics(Protocol):
    """Topics and groups, as brokers have them."""

    def topics(self) -> Mapping[str, int]: ...

    def settings(self, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Those in force; without topics whose settings this user may not read."""
        ...

    def create(self, topics: Sequence[TopicSpec]) -> None: ...

    def delete(self, topics: Collection[str]) -> None: ...

    def alter(self, wanted: Mapping[str, Mapping[str, str | None]]) -> None:
        """None takes a setting back to the brokers' default."""

    def grow(self, wanted: Mapping[str, int], *, tries_only: bool = False) -> None:
        """Give topics so many partitions, where they have fewer; or see whether that would be
        done."""

    def forget(self, groups: Collection[str]) -> None:
        """End whoever writes under these names, which are transactional ids too, and delete what
        the groups have committed."""


class Workers(Protocol):
    """What workers are told, and what they say."""

    @property
    def place(self) -> TopicPartition:
        """Where orders are."""
        ...

    def orders(self) -> Mapping[str, Order]: ...

    def statuses(self) -> Mapping[str, StatusRecord]:
        """Of the workers that live."""
        ...

    def draining(self) -> frozenset[str]:
        """The workers that are to be emptied, or stay as they are: they are given nothing."""
        ...


class Feeding(Protocol):
    """The feeds of an operation, which are at work from the first question on."""

    def progress(self) -> list[FeedProgress]:
        """How far each is. Raises what one has failed with."""
        ...

    def halt(self) -> None:
        """Have them stand still, until they are asked for again."""

    def drain_to(self, ends: Mapping[TopicPartition, int], *, timeout_s: float) -> None:
        """Wait until all before these ends of old changelogs is committed. Raises UnfinishedError
        where that takes longer."""


class PlacedSeed(Seed, Protocol):
    """The rows of a task's snapshot, and where it stands."""

    def inside(self) -> Positions: ...


class World(Protocol):
    """The application as it is reached from here. Used by one thread."""

    @property
    def config(self) -> Config: ...

    @property
    def ports(self) -> Ports:
        """For positions, ends and what is read back."""
        ...

    @property
    def layouts(self) -> Layouts: ...

    @property
    def topics(self) -> Topics: ...

    @property
    def workers(self) -> Workers: ...

    def feeding(self, asked: Asked, guard: Callable[[], None]) -> Feeding:
        """The same for all steps of this process. `guard` raises where another one has taken the
        operation over: a feed looks there before it begins, also when it begins again."""
        ...

    def specs(self, asked: Asked, plan: FeedPlan) -> Sequence[StoreSpec]:
        """The stores of a plan whose rows belong by a function of the application's code; none
        where that is not at hand. Raises OperationRefusedError where it is another code."""
        ...

    def now_ms(self) -> int: ...

    def others(self, application: str) -> Mapping[str, StatusRecord]:
        """The statuses of the workers that live of another application on the same brokers."""
        ...

    def snapshot(self, application: str, task: TaskId, record: SeedRecord) -> PlacedSeed:
        """One of the application's; fetched once it is asked for anything."""
        ...

    def wait(self) -> None:
        """For a moment, until there may be news."""

    def wait_shortly(self) -> None:
        """The same where everybody stands still meanwhile."""

    def beside(self, calls: Sequence[Callable[[], T]], tick: Callable[[], None]) -> list[T]:
        """Have these done at the same time; `tick` is called meanwhile, and what it raises ends
        them. Raises what one of them raises."""
        ...
