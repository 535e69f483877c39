"""`rebuild`: one copy of one task is made anew, from a snapshot or from its changelogs.

    export      where it comes straight from the active: that one makes a snapshot on its own disk
    order       the worker with the copy is told
    warm        wait until the copy is the new one, and has no more to read than a warm one may
    withdraw    take the orders back

The worker keeps the old copy until the new one is there, and leaves a note with this operation's
number in it: so whatever is killed, the copy is made once. Cancelled, the orders are taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from streamer.config import Config
from streamer.control.messages import ChoreReport, StandbyReport
from streamer.control.orders import FORMAT, SnapshotOrder, encode_order, export_key
from streamer.control.plans import PLAN_FORMAT, Plan, PlannedStep
from streamer.errors import SnapshotError
from streamer.operations.kinds import Request, Step
from streamer.operations.ports import Effect
from streamer.operations.rebuild_target import Target, World, is_done, target_of
from streamer.operations.work import Work

__all__ = ["Rebuild"]

# A status is a few seconds old; a refusal that is older than the order may be of the last one.
SETTLED_MS = 15_000


@dataclass(frozen=True)
class Export:
    target: Target
    id: str = "export"

    def is_done(self, world: World) -> bool:
        target = self.target
        return target.is_rebuilt(world) or target.stands(world) or is_done(target.exported(world))

    def run(self, world: World, work: Work) -> str:
        target = self.target
        order = SnapshotOrder(
            format=FORMAT,
            operation=target.number,
            tasks=(target.task,),
            repository=target.directory,
            at_ms=world.now_ms(),
        )
        work.write(
            [Effect(world.place, export_key(target.number), encode_order(order, world.place.topic))]
        )

        def exported() -> ChoreReport | None:
            target.check_active(world)
            return target.exported(world)

        made = _followed(world, work, exported, what=f"worker {target.active}")
        return f"worker {target.active} has made snapshot {made.made} in {target.directory}"

    def undo(self, world: World, work: Work) -> str:
        self.target.withdraw(world, work)
        return "the order is taken back; its snapshot, if there is one, stays for a prune"


@dataclass(frozen=True)
class Give:
    target: Target
    id: str = "order"

    def is_done(self, world: World) -> bool:
        return self.target.stands(world) or self.target.is_rebuilt(world)

    def run(self, world: World, work: Work) -> str:
        self.target.give(world, work)
        return f"worker {self.target.worker} is to rebuild its copy of {self.target.task}"

    def undo(self, world: World, work: Work) -> str:
        self.target.withdraw(world, work)
        return "the order is taken back; a copy that was made anew by then stays"


@dataclass(frozen=True)
class Warm:
    target: Target
    id: str = "warm"

    def is_done(self, world: World) -> bool:
        target, copy = self.target, self.target.copy(world)
        if not target.is_rebuilt(world):
            return False
        if copy is None:
            # One that processes by now is more than warm.
            return target.is_promoted(world)
        # Withdrawn, this is over, whatever the lag is by now.
        return _is_warm(copy, world) or not target.stands(world)

    def run(self, world: World, work: Work) -> str:
        target = self.target
        found = target.told(world)
        if found is not None and found.state == "failed":
            # It did not work the last time, and somebody wants it to be tried again.
            target.give(world, work)
        _followed(
            world,
            work,
            lambda: target.told(world),
            what=f"worker {target.worker}",
        )
        most = 0
        while not self.is_done(world):
            copy = target.copy(world)
            if copy is not None and copy.state == "failed":
                raise SnapshotError(
                    f"the copy of {target.task} on worker {target.worker} was made anew, and has"
                    " failed",
                    hint="the worker's log says why; cancel this operation, and rebuild it again",
                )
            left = copy.lag_records if copy is not None else -1
            most = max(most, left)
            work.progress(
                phase="read the rest of the changelogs",
                held_by="" if left >= 0 else f"worker {target.worker}, which does not tell its lag",
                records_done=most - left if left >= 0 else 0,
                records_total=most,
            )
            world.wait()
        return f"the copy of {target.task} on worker {target.worker} is warm"

    def undo(self, world: World, work: Work) -> str:
        return "a copy that was made anew stays"


@dataclass(frozen=True)
class Withdraw:
    target: Target
    id: str = "withdraw"

    def is_done(self, world: World) -> bool:
        target = self.target
        is_over = not (target.stands(world) or target.exports(world))
        return is_over and target.is_rebuilt(world)

    def run(self, world: World, work: Work) -> str:
        target = self.target
        # Here, since a copy may be warm before anybody waits for it.
        made = target.told(world)
        target.withdraw(world, work)
        if made is None:
            return "the orders are taken back"
        origin = f"snapshot {made.made} of {made.source}" if made.made else "its changelogs"
        return (
            f"the orders are taken back; the copy of {target.task} on worker {target.worker} was"
            f" made anew from {origin}"
        )

    def undo(self, world: World, work: Work) -> str:
        return "the orders were taken back"


def _is_warm(copy: StandbyReport, world: World) -> bool:
    return copy.is_current or 0 <= copy.lag_records <= world.config.acceptable_recovery_lag


def _followed(
    world: World, work: Work, find: Callable[[], ChoreReport | None], *, what: str
) -> ChoreReport:
    """Wait until an order is fulfilled. Raises SnapshotError where it cannot be."""
    began_ms, has_worked = world.now_ms(), False
    while True:
        chore = find()
        if chore is not None and chore.state == "done":
            return chore
        if chore is not None and chore.state == "failed":
            if has_worked or world.now_ms() - began_ms > SETTLED_MS:
                raise SnapshotError(
                    f"{what} cannot do it: {chore.why}",
                    hint="mend that; the order is given again when the operation is resumed",
                )
        elif chore is not None:
            has_worked = True
        work.progress(
            phase=(chore.phase or "fetch") if chore is not None and chore.bytes_total else "",
            bytes_done=0 if chore is None else chore.bytes_done,
            bytes_total=0 if chore is None else chore.bytes_total,
            held_by=f"{what}, which has not begun" if chore is None else "",
        )
        world.wait()


class Rebuild:
    """The kind. `opening` makes its world of the settings."""

    name = "rebuild"

    def __init__(self, opening: Callable[[Config], AbstractContextManager[World]]) -> None:
        self._opening = opening

    def open(self, config: Config, request: Request) -> AbstractContextManager[World]:
        return self._opening(config)

    def plan(self, world: World, request: Request) -> Plan:
        """`request` has the task, the worker or "" (`on`), the source (`from`) and a number of its
        own, by which what is done for it is known."""
        target = target_of(world, request)
        parameters = dict(vars(target))
        summaries = {
            "export": f"worker {target.active} makes a snapshot in {target.directory}",
            "order": f"tell worker {target.worker} to rebuild its copy of {target.task}",
            "warm": f"wait until the copy was made anew from {target.source} and is warm",
            "withdraw": "take the orders back",
        }
        steps = [step.id for step in _steps(target)]
        return Plan(
            format=PLAN_FORMAT,
            kind=self.name,
            scope=f"task/{target.task}",
            steps=tuple(
                PlannedStep(id=each, summary=summaries[each], parameters=parameters)
                for each in steps
            ),
            seen={"worker": target.worker, "active": target.active},
        )

    def steps(self, plan: Plan) -> Sequence[Step[World]]:
        return _steps(Target(**plan.steps[0].parameters))


def _steps(target: Target) -> list[Step[World]]:
    steps: list[Step[World]] = [Give(target), Warm(target), Withdraw(target)]
    return [Export(target), *steps] if target.source == "active" else steps
