"""What a controller knows, and how it comes to know it from the topics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streamer.cluster.plan import Plan
from streamer.cluster.view import WorkerView
from streamer.cluster.wishes import Wishes
from streamer.cluster.work import Work
from streamer.control.identity import Incarnation
from streamer.control.messages import AssignmentRecord, StatusRecord, task_ids
from streamer.control.requests import Answer
from streamer.ids import TaskId
from streamer.topology.shape import Shape

__all__ = ["State", "load", "sessions_of", "view_of"]


@dataclass(slots=True)
class State:
    """Everything the controller knows. Only `step` changes it."""

    name: str
    plan: Plan
    shape: Shape
    version: int = 0
    workers: dict[str, WorkerView] = field(default_factory=dict)
    sessions: dict[str, frozenset[str]] | None = None
    tidied_ms: int = 0
    fencing: dict[str, int | None] = field(default_factory=dict)
    """Workers whose fence was asked for, with the time of the next try where it failed."""
    spoken: set[tuple[str, Incarnation]] = field(default_factory=set)
    """Of other shapes, and heard of since this controller began: no ghosts of the log."""
    wishes: Wishes = field(default_factory=Wishes)


def load(
    name: str,
    work: Work,
    *,
    assignments: Iterable[AssignmentRecord],
    statuses: Iterable[StatusRecord],
    answers: Iterable[Answer] = (),
    now_ms: int = 0,
    wall_ms: int = 0,
) -> State:
    """What a new controller knows from the topics, once its predecessor can write no more."""
    state = State(name, Plan(work.tasks, work.policy, work.stateless), work.shape)
    granted: dict[str, tuple[frozenset[TaskId], frozenset[TaskId]]] = {}
    for assignment in assignments:
        view_of(state, assignment.worker).take(assignment)
        state.version = max(state.version, assignment.version)
        if not state.shape.differs(assignment.shape):
            tasks, standbys = task_ids(assignment.tasks), task_ids(assignment.standbys)
            if assignment.ended:
                gone_ms = now_ms - max(wall_ms - assignment.at_ms, 0)
                state.plan.miss(assignment.worker, tasks, standbys, gone_ms=gone_ms, now_ms=now_ms)
            else:
                granted[assignment.worker] = tasks, standbys
    state.plan.remember(granted)
    for status in statuses:
        # The assignments may be lost with their topic: a version that was seen is not used again.
        state.version = max(state.version, status.seen)
        view_of(state, status.worker).hear(status)
    for answer in answers:
        state.wishes.remember(answer)
    return state


def view_of(state: State, worker: str) -> WorkerView:
    return state.workers.setdefault(worker, WorkerView())


def sessions_of(state: State, worker: str) -> frozenset[str]:
    """The worker's sessions that are alive, without those that said good-bye."""
    sessions = (state.sessions or {}).get(worker, frozenset())
    view = state.workers.get(worker)
    return sessions - view.left if view else sessions
