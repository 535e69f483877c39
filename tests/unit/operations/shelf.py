"""A small operation for tests: it puts boxes on a shelf, one step each, then labels the shelf.

The shelf is the world. Each box is two side effects (bring it, then set it down), with a failpoint
between them; the label is one record in a topic, written under the lock, after which there is no
way back. `watch` names the boxes that were brought, so that what is done twice can be seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.operations import OperationRecord
from streamer.control.plans import PLAN_FORMAT, Cost, Plan, PlannedStep
from streamer.errors import OperationRefusedError
from streamer.ids import TopicPartition
from streamer.kafka.fake import FakeBroker
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.kinds import Kinds
from streamer.operations.ports import Effect
from streamer.operations.work import NoWayBackError, Work

LABELS = TopicPartition("app.layout", 0)
APPLICATION = "app"


@dataclass
class Shelf:
    """The world of the operation, and what tests want to happen in it."""

    broker: FakeBroker
    boxes: dict[str, str] = field(default_factory=dict)
    brought: dict[str, str] = field(default_factory=dict)
    room: int = 10
    cost: Cost | None = None
    """What a plan says that it costs; two bytes for each box where it is None."""
    inside: Callable[[str], None] = lambda _box: None
    """Called between the two effects of a step, with the name of the box."""

    def labels(self) -> list[bytes | None]:
        return [record.value for record in self.broker.partition_records(LABELS)]

    def end(self) -> object:
        return self.boxes, self.brought, self.labels()[-1:]


@dataclass(frozen=True)
class Put:
    id: str

    def is_done(self, world: Shelf) -> bool:
        return self.id in world.boxes

    def run(self, world: Shelf, work: Work) -> str:
        work.progress(phase="bring", number=1, of=2, bytes_done=1, bytes_total=2)
        world.brought[self.id] = work.operation
        world.inside(self.id)
        work.progress(phase="set down", number=2, of=2, bytes_done=2, bytes_total=2)
        world.boxes[self.id] = work.operation
        return f"{self.id} stands on the shelf"

    def undo(self, world: Shelf, work: Work) -> str:
        if b"labelled" in world.labels():
            raise NoWayBackError("the shelf has its label")
        world.boxes.pop(self.id, None)
        world.inside(self.id)
        world.brought.pop(self.id, None)
        return f"{self.id} is away"


@dataclass(frozen=True)
class Label:
    id: str = "label"

    def is_done(self, world: Shelf) -> bool:
        return b"labelled" in world.labels()

    def run(self, world: Shelf, work: Work) -> str:
        work.write([Effect(LABELS, "label", b"labelled")])
        return "the shelf has its label"

    def undo(self, world: Shelf, work: Work) -> str:
        return "there was no label"


@dataclass(frozen=True)
class Shelving:
    """The kind. A request names the boxes; `scope` and `no_return_when` may be given too."""

    world: Shelf
    name: str = "shelve"

    def open(self, config: Config, request: Mapping[str, Any]) -> AbstractContextManager[Shelf]:
        assert config.application_id == APPLICATION
        return nullcontext(self.world)

    def plan(self, world: Shelf, request: Mapping[str, Any]) -> Plan:
        boxes = request["boxes"]
        if len(boxes) > world.room:
            raise OperationRefusedError("the shelf is too small", hint="bring fewer boxes")
        puts = [PlannedStep(id=box, summary=f"put {box} on the shelf") for box in boxes]
        return Plan(
            format=PLAN_FORMAT,
            kind=self.name,
            scope=request.get("scope", "application"),
            steps=(*puts, PlannedStep(id="label", summary="label the shelf")),
            cost=world.cost or Cost(bytes=2 * len(boxes), seconds=75),
            no_return="label",
            no_return_when=request.get("no_return_when", "done"),
            lost=("a label cannot be taken off",),
            seen={"room": world.room},
        )

    def steps(self, plan: Plan) -> list[Put | Label]:
        return [Label() if step.id == "label" else Put(step.id) for step in plan.steps]


class Warehouse:
    """A broker, a clock, a shelf, and any number of processes."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_000_000)
        self.broker = FakeBroker(partition_of=lambda _key, _count: 0, now_ms=self.clock.now_ms)
        self.broker.create(LABELS.topic, 1)
        self.shelf = Shelf(self.broker)
        self.kinds = Kinds([Shelving(self.shelf)])
        self.seen: list[str] = []

    def executor(
        self,
        kinds: Kinds | None = None,
        notice: Callable[[OperationRecord], None] = lambda _record: None,
        table: FakeTable | None = None,
        stopping: threading.Event | None = None,
        conductor: str = "",
    ) -> Executor:
        def told(record: OperationRecord) -> None:
            self.seen.append(record.state)
            notice(record)

        return Executor(
            Config(application_id=APPLICATION, bootstrap_servers="127.0.0.1:9"),
            table or self.table(),
            kinds or self.kinds,
            clock=self.clock,
            pulses=False,
            notice=told,
            stopping=stopping,
            conductor=conductor,
        )

    def table(self) -> FakeTable:
        return FakeTable(self.broker, APPLICATION)

    def planned(self, *boxes: str, **request: Any) -> str:
        made = self.executor().propose("shelve", {"boxes": list(boxes), **request}, why="test")
        return made.id


def rows(warehouse: Warehouse) -> dict[str, bytes]:
    """All that is written down about its operations."""
    return dict(warehouse.table().read(to_end=True))


def fails(_box: str) -> None:
    """What a step does inside, when the lift is broken."""
    raise OSError("the lift is broken")


def interrupt() -> None:
    raise KeyboardInterrupt
