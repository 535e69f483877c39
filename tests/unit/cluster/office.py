"""A controller that is told things and whose actions are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamer.cluster.attendance import SETTLE_MS
from streamer.cluster.core import step
from streamer.cluster.events import (
    Action,
    Event,
    Fence,
    Fenced,
    Members,
    Status,
    Write,
)
from streamer.cluster.state import load
from streamer.cluster.work import Work
from streamer.control.goals import GoalRecord
from streamer.control.identity import Incarnation
from streamer.control.messages import AssignmentRecord, StatusRecord, TaskReport
from streamer.control.requests import PlanRecord
from streamer.ids import TaskId
from streamer.topology.shape import Shape

TASKS = [TaskId(0, number) for number in range(4)]
RUNNING = TaskReport(state="running")


class Office:
    """Tells events to the core and keeps what it writes."""

    def __init__(
        self,
        assignments: Iterable[AssignmentRecord] = (),
        statuses: Iterable[StatusRecord] = (),
        *,
        shape: Shape | None = None,
        told: Iterable[PlanRecord] = (),
        goal: Mapping[int, GoalRecord] | None = None,
    ) -> None:
        # Without state there is nothing to copy before a task moves: see test_copies.py.
        work = Work(frozenset(TASKS), frozenset(TASKS), shape or Shape())
        self.log = {each.worker: each for each in assignments}
        self.goal = dict(goal or {})
        self.told = [*told]
        self.state = load(
            "boss",
            work,
            assignments=self.log.values(),
            statuses=statuses,
            answers=self.told,
            goal=self.goal,
        )
        self.now_ms = 0
        self.wall_ms = 1_000_000
        self.number = 0

    def hear(self, *events: Event) -> list[Action]:
        actions = step(self.state, events, now_ms=self.now_ms, wall_ms=self.wall_ms)
        for action in actions:
            if isinstance(action, Write):
                self.log |= {each.worker: each for each in action.records}
                self.goal |= action.goal
                self.told = [action.plan] if action.plan else self.told
        return actions

    def members(self, *names: str) -> list[Action]:
        """`w1#s1` names a session of a worker."""
        pairs = [name.split("#") for name in names]
        return self.hear(Members(frozenset((worker, session) for worker, session in pairs)))

    def status(
        self,
        name: str,
        *tasks: str,
        seen: int | None = None,
        left: bool = False,
        shape: Shape | None = None,
    ) -> list[Action]:
        """`w1#s1.0` names an incarnation; it has seen everything unless said otherwise."""
        self.number += 1
        worker, incarnation = name.split("#")
        granted = self.log.get(worker)
        newest = granted.version if granted and granted.incarnation == incarnation else 0
        record = StatusRecord(
            format=1,
            number=self.number,
            worker=worker,
            incarnation=incarnation,
            seen=newest if seen is None else seen,
            tasks=dict.fromkeys(tasks, RUNNING),
            left=left,
            shape=shape.digest if shape else "",
            at_ms=self.wall_ms,
        )
        return self.hear(Status(record))

    def wait(self, duration_ms: int) -> list[Action]:
        self.now_ms += duration_ms
        self.wall_ms += duration_ms
        return self.hear()

    def fenced(self, worker: str, *incarnations: str) -> list[Action]:
        return self.hear(Fenced(worker, frozenset(map(Incarnation.parse, incarnations))))

    def tasks(self, worker: str) -> tuple[str, ...]:
        return self.log[worker].tasks if not self.log[worker].ended else ()

    def two_workers(self) -> None:
        """w1 and w2 own two tasks each, and have said so."""
        self.status("w1#s1.0")
        self.status("w2#s2.0")
        self.members("w1#s1", "w2#s2")
        self.wait(SETTLE_MS)
        self.status("w1#s1.0", *self.tasks("w1"))
        self.status("w2#s2.0", *self.tasks("w2"))


def fences(actions: list[Action]) -> list[str]:
    return [each.worker for each in actions if isinstance(each, Fence)]
