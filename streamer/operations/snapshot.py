"""The operation `snapshot`: whoever processes a task makes a snapshot of it.

    order       the order stands: workers read it, whoever has a task then
    wait        each task has a snapshot that names this order
    take-back   the order is taken back

Nothing is destroyed, so there is a way back from everywhere: the order is taken back, and snapshots
that are finished stay. The order is named by the request, so that each process that goes on with
the operation means the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from streamer.config import Config
from streamer.control.messages import ChoreReport, TaskReport
from streamer.control.orders import FORMAT, SNAPSHOT_KEY, SnapshotOrder, encode_order
from streamer.control.plans import PLAN_FORMAT, Plan, PlannedStep
from streamer.errors import ConfigError, OperationRefusedError, SnapshotError
from streamer.ids import TaskId, TopicPartition
from streamer.operations.kinds import Request, Step
from streamer.operations.ports import Effect
from streamer.operations.work import Work

__all__ = ["KIND", "Snapshot", "Told", "World"]

KIND = "snapshot"
# One order stands at a time, beside operations on other things.
_SCOPE = "snapshot"
# A worker tries again by itself; after ten minutes in which nothing has moved somebody must look.
_STALLED_LOOKS = 600
_NAMED_MAX = 3
_PHASES = {"hash": "hashing", "send": "sending"}


class Told(NamedTuple):
    """Who has a task, "" for nobody that lives, and what that worker says of it."""

    worker: str
    report: TaskReport | None


class World(Protocol):
    """What the steps ask and change."""

    @property
    def place(self) -> TopicPartition:
        """Where orders are written."""
        ...

    @property
    def repository(self) -> str:
        """The address that the order or the settings name, "" where neither does."""
        ...

    def tasks(self) -> Mapping[str, Told]:
        """All tasks of the application."""
        ...

    def order(self) -> SnapshotOrder | None:
        """The order that stands, with all that was written before this call."""
        ...

    def is_made(self, operation: str, task: str) -> bool:
        """Whether the repository is seen from here, and has the snapshot, looked at and noted."""
        ...

    def now_ms(self) -> int: ...

    def pause(self) -> None:
        """For as long as it takes until a look is worth it: a second."""
        ...


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the plan says."""

    operation: str
    tasks: tuple[str, ...]
    repository: str

    def stands(self, world: World) -> bool:
        order = world.order()
        return order is not None and order.operation == self.operation

    def is_through(self, world: World) -> bool:
        """Whether each task has its snapshot, as its worker or the repository says."""
        told = world.tasks()
        left = [task for task in self.tasks if not self.is_done(told.get(task))]
        return all(world.is_made(self.operation, task) for task in left)

    def is_done(self, told: Told | None) -> bool:
        chore = told.report.chore if told and told.report else None
        return chore is not None and (chore.operation, chore.state) == (self.operation, "done")

    def take_back(self, world: World, work: Work) -> str:
        if not self.stands(world):
            return "no order stands"
        work.write([Effect(world.place, SNAPSHOT_KEY, None)])
        return "the order is taken back"


@dataclass(frozen=True, slots=True)
class _Order:
    asked: _Asked
    id: str = "order"

    def is_done(self, world: World) -> bool:
        return self.asked.stands(world) or self.asked.is_through(world)

    def run(self, world: World, work: Work) -> str:
        order = SnapshotOrder(
            format=FORMAT,
            operation=self.asked.operation,
            tasks=self.asked.tasks,
            repository=self.asked.repository,
            at_ms=world.now_ms(),
        )
        work.write([Effect(world.place, SNAPSHOT_KEY, encode_order(order, world.place.topic))])
        return f"the workers of {len(self.asked.tasks)} tasks are asked"

    def undo(self, world: World, work: Work) -> str:
        return self.asked.take_back(world, work)


@dataclass(frozen=True, slots=True)
class _Wait:
    asked: _Asked
    id: str = "wait"

    def is_done(self, world: World) -> bool:
        return self.asked.is_through(world)

    def run(self, world: World, work: Work) -> str:
        watch = _Watch(self.asked)
        while left := watch.look(world.tasks(), world, work):
            if not self.asked.stands(world):
                raise SnapshotError(
                    f"the order of {self.asked.operation} does not stand any more",
                    hint=f"{len(left)} tasks have no snapshot yet; resuming gives it again",
                )
            world.pause()
        return f"{len(self.asked.tasks)} snapshots stand"

    def undo(self, world: World, work: Work) -> str:
        return "snapshots that are finished stay"


@dataclass(frozen=True, slots=True)
class _TakeBack:
    asked: _Asked
    id: str = "take-back"

    def is_done(self, world: World) -> bool:
        return not self.asked.stands(world)

    def run(self, world: World, work: Work) -> str:
        return self.asked.take_back(world, work)

    def undo(self, world: World, work: Work) -> str:
        return "there is nothing to take back"


class _Watch:
    """How far the workers are, from one look to the next."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked
        self._done: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._last = (0, 0)
        self._looks = 0

    def look(self, told: Mapping[str, Told], world: World, work: Work) -> list[str]:
        """Tell how far it is; the tasks that are left. Raises SnapshotError when it has stood still
        for long and workers say why."""
        operation, bytes_done = self._asked.operation, 0
        for task in self._asked.tasks:
            one = told.get(task, Told("", None))
            chore = one.report.chore if one.report else None
            mine = chore if chore and chore.operation == operation else None
            size = (mine.bytes_total if mine else 0) or (one.report.bytes if one.report else 0)
            self._sizes[task] = size or self._sizes.get(task, 0)
            if self._asked.is_done(one) or (not one.worker and world.is_made(operation, task)):
                self._done.add(task)
            if task in self._done:
                bytes_done += self._sizes[task]
            elif mine is not None:
                bytes_done += _bytes_done(mine)
        left = [task for task in self._asked.tasks if task not in self._done]
        work.progress(
            phase=f"{len(self._done)} of {len(self._asked.tasks)} tasks have a snapshot",
            bytes_done=bytes_done,
            bytes_total=sum(self._sizes.values()),
            held_by=_named([_waits(task, told.get(task), operation) for task in left]),
        )
        self._check_moving(left, told, bytes_done)
        return left

    def _check_moving(self, left: list[str], told: Mapping[str, Told], bytes_done: int) -> None:
        now = (len(self._done), bytes_done)
        self._looks = 0 if now != self._last else self._looks + 1
        self._last = now
        if self._looks < _STALLED_LOOKS:
            return
        failed = [each for each in (_failure(told.get(task)) for task in left) if each]
        if failed:
            raise SnapshotError(
                f"nothing has moved for long, and {len(failed)} tasks say why: {failed[0]}",
                hint="the workers go on trying while the order stands",
            )
        alone = [task for task in left if not told.get(task, Told("", None)).worker]
        if alone:
            # Nobody is there who could try again, and other snapshots wait for this one.
            raise SnapshotError(
                f"nothing has moved for long, and nobody runs {len(alone)} tasks: {_named(alone)}",
                hint="start their workers, or look why nobody has them: streamer show alarms",
            )


def _bytes_done(chore: ChoreReport) -> int:
    """How much of a state is done: one byte is half done when it is hashed. Hashing the first
    snapshot of a large state takes as long as sending it, and is progress as well."""
    if chore.phase == "hash":
        return chore.bytes_done // 2
    if chore.phase == "send":
        return (chore.bytes_total + chore.bytes_done) // 2
    return chore.bytes_done


def _waits(task: str, told: Told | None, operation: str) -> str:
    if told is None or told.report is None:
        return f"{task} (nobody runs it)"
    if told.report.state != "running":
        return f"{task} ({told.report.state} on {told.worker})"
    chore = told.report.chore
    if chore is None or chore.operation != operation:
        return f"{task} (not begun by {told.worker})"
    if chore.state == "failed":
        return f"{task} (tried again by {told.worker}: {chore.why})"
    return f"{task} ({_PHASES.get(chore.phase, chore.state)} on {told.worker})"


def _failure(told: Told | None) -> str:
    chore = told.report.chore if told and told.report else None
    return chore.why if chore is not None and chore.state == "failed" else ""


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


class Snapshot:
    """The kind. A request has `order`, the name of the order, which is the operation's own id; and
    may have `tasks`, `stores`, `subtopologies` (all, where these are empty) and `repository`.

    What changes with every record (owners, bytes) is no part of the plan, which would be another
    one each second; the steps tell it.
    """

    name = KIND

    def open(self, config: Config, request: Request) -> AbstractContextManager[World]:
        from streamer.operations.snapshot_world import KafkaWorld

        return KafkaWorld(config, str(request.get("repository", "")))

    def plan(self, world: World, request: Request) -> Plan:
        order = request.get("order", "")
        if not order or not isinstance(order, str):
            raise OperationRefusedError(
                "it is not said how the order is called",
                hint="give `order`, a name that no other order has, such as the operation's id",
            )
        if not world.repository:
            # The workers have the same settings: they would fail one by one, and try again.
            raise ConfigError(
                "snapshot_repository is not set, so there is no place for snapshots",
                hint="set it to file:///path, s3://bucket/prefix or ssh://user@host/path, for all"
                " workers and for this command; or name one for this time: --repository ADDRESS",
            )
        tasks = _chosen(world.tasks(), request)
        repository = str(request.get("repository", ""))
        where = repository or "the workers' snapshot_repository"
        parameters = {"order": order, "tasks": list(tasks), "repository": repository}
        return Plan(
            format=PLAN_FORMAT,
            kind=self.name,
            scope=_SCOPE,
            steps=(
                PlannedStep(
                    id="order",
                    summary=f"ask the workers of {len(tasks)} tasks for a snapshot in {where}",
                    parameters=parameters,
                ),
                PlannedStep(id="wait", summary="wait until each task has one"),
                PlannedStep(id="take-back", summary="take the order back"),
            ),
            seen={"tasks": list(tasks)},
        )

    def steps(self, plan: Plan) -> Sequence[Step[World]]:
        said = plan.steps[0].parameters
        asked = _Asked(said["order"], tuple(said["tasks"]), said["repository"])
        return [_Order(asked), _Wait(asked), _TakeBack(asked)]


def _chosen(known: Mapping[str, Told], request: Request) -> tuple[str, ...]:
    """The tasks that are asked for. Raises OperationRefusedError where there are none."""
    named, numbers = set(request.get("tasks", ())), set(request.get("subtopologies", ()))
    if unknown := sorted(named - known.keys()):
        raise OperationRefusedError(
            f"the application has no task {', '.join(unknown)}",
            hint="streamer show tasks has all of them",
        )
    holding = _holding(known, set(request.get("stores", ())))
    chosen = [
        task
        for task in sorted(known, key=TaskId.parse)
        if (not named or task in named)
        and (holding is None or TaskId.parse(task).subtopology in holding)
        and (not numbers or TaskId.parse(task).subtopology in numbers)
    ]
    if not chosen:
        raise OperationRefusedError(
            "there is no task of which a snapshot could be made",
            hint="start a worker, and ask again when it has its tasks: streamer show tasks",
        )
    return tuple(chosen)


def _holding(known: Mapping[str, Told], stores: set[str]) -> set[int] | None:
    """The subtopologies whose workers tell of one of these stores; None where none is asked for."""
    if not stores:
        return None
    told = [
        (TaskId.parse(task).subtopology, one.report.durable)
        for task, one in known.items()
        if one.report is not None
    ]
    stored = {store for _number, durable in told for store in durable}
    if missing := sorted(stores - stored):
        raise OperationRefusedError(
            f"no worker tells of a store {', '.join(missing)}",
            hint=f"stores are: {', '.join(sorted(stored)) or 'none'}; a task tells of them once it"
            " runs",
        )
    return {number for number, durable in told if not stores.isdisjoint(durable)}
