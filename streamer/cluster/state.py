"""What a controller knows, and how it comes to know it from the topics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from streamer.assignment.facts import Mode, Placement, Site
from streamer.cluster.goal import Goal, standing
from streamer.cluster.hold import Hold
from streamer.cluster.pause import Pause
from streamer.cluster.plan import Plan
from streamer.cluster.view import WorkerView
from streamer.cluster.wishes import Wishes
from streamer.cluster.work import Work
from streamer.config.cluster import zone_tags
from streamer.control.goals import GoalRecord
from streamer.control.identity import Incarnation, session_of
from streamer.control.messages import AssignmentRecord, StatusRecord, task_ids
from streamer.control.outline import Outline
from streamer.control.requests import Answer, PlanRecord
from streamer.errors import ConfigError
from streamer.ids import FIRST_LAYOUT, Layout, TaskId
from streamer.topology.shape import Shape

__all__ = ["State", "load", "sessions_of", "site_of", "view_of"]

_NO_GOAL: Mapping[int, GoalRecord] = {}


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
    goal: Goal = field(default_factory=Goal)
    hold: Hold = field(default_factory=Hold)
    pause: Pause = field(default_factory=Pause)
    layout: Layout = FIRST_LAYOUT
    """That of this controller's worker, and of all that are given tasks."""
    outline: Outline = ()
    revision: int = 0
    """Of the plan's target that was written last."""


def load(
    name: str,
    work: Work,
    *,
    assignments: Iterable[AssignmentRecord],
    statuses: Iterable[StatusRecord],
    answers: Iterable[Answer] = (),
    goal: Mapping[int, GoalRecord] | None = _NO_GOAL,
    now_ms: int = 0,
    wall_ms: int = 0,
) -> State:
    """What a new controller knows from the topics, once its predecessor can write no more. `goal`
    is None where a piece of it cannot be read: the tasks are placed anew then."""
    state = State(name, Plan(work.tasks, work.policy, work.stateless), work.shape)
    state.layout, state.outline = work.layout, work.outline
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
    state.goal.take(goal, work.shape.digest)
    told = state.wishes.predecessor
    state.pause.remember(told.pause if told else ("", ""))
    if told:
        state.plan.drains.remember(told.halted)
    is_same = told is not None and told.settings == work.policy.named
    if told and goal is not None and is_same:
        if not work.shape.differs(told.shape):
            _resume(state, told, now_ms)
        elif state.goal.copies:
            _begin(state, told, now_ms)
    return state


def _resume(state: State, told: PlanRecord, now_ms: int) -> None:
    """Go on where the predecessor was going: a controller that dies is no reason to move a task."""
    stands = standing(state.workers, state.shape.digest)
    target = {task: each for task, each in stands.items() if each.active} | state.goal.copies
    reasons = {}
    # All that is known of a plan that was applied; of other moves the first are in what was told.
    planned = state.wishes.proposal if told.rebalance[1] == "adopted" else None
    for move in (*(planned.moves if planned else ()), *told.moves):
        with suppress(ConfigError):  # They are words; nothing goes by them.
            reasons[TaskId.parse(move.task), move.target] = move.why
    modes = [Mode(one.name, one.concerns, one.examples, one.until) for one in told.modes]
    state.plan.resume(
        target,
        sites={
            worker: site
            for worker, view in state.workers.items()
            if (site := _site(view, state.shape))
        },
        reasons=reasons,
        told=Placement({}, modes=tuple(modes), idle=dict(told.idle)),
        away=told.away,
        beginning=told.beginning,
        why=told.why,
        now_ms=now_ms,
    )
    if told.beginning:
        # It had begun with the layout, and waited for these.
        _await_all(state, frozenset(told.beginning) & state.plan.workers)
    state.plan.drains.resume(told.drain)


def _begin(state: State, told: PlanRecord, now_ms: int) -> None:
    """The first controller of a layout: whoever switched to it has said where tasks have their
    state."""
    copies = state.goal.copies
    beginning = frozenset(worker for each in copies.values() for worker in each.workers)
    state.plan.resume(
        copies,
        sites={worker: site_of(view.heard) for worker, view in state.workers.items() if view.heard},
        reasons={},
        told=Placement({}),
        away=(),
        beginning=beginning,
        why=f"layout {state.layout} begins where copies were made for it",
        now_ms=now_ms,
    )
    _await_all(state, beginning)
    # To be told with the first grants, which use the goal up: whoever follows resumes from there.
    state.plan.revision += 1
    state.plan.drains.resume(told.drain)


def _await_all(state: State, workers: frozenset[str]) -> None:
    """These begin anew, and have what nobody else has."""
    plan = state.plan
    wanted = plan.policy.standby_replicas
    plan.attendance.begin(
        workers,
        is_scant=any(
            len(copies.standbys) < wanted and task not in plan.stateless
            for task, copies in plan.target.items()
        ),
    )


def _site(view: WorkerView, shape: Shape) -> Site | None:
    """Where a worker is that has not been started again since it was granted something of this
    shape; of another one it is not known where it was before."""
    if view.heard is None or view.grant is None:
        return None
    sessions = session_of(view.heard.incarnation), view.heard.follows
    is_the_same = view.grant.incarnation.session in sessions
    # All begin anew with a layout: that is no reason to place again what begins where its copy is.
    is_first = shape.differs(view.grant.record.shape)
    return site_of(view.heard) if is_the_same or is_first else None


def site_of(word: StatusRecord) -> Site:
    """Where a worker is, as it says."""
    return Site(zone_tags(word.zone), word.host, word.capacity)


def view_of(state: State, worker: str) -> WorkerView:
    return state.workers.setdefault(worker, WorkerView())


def sessions_of(state: State, worker: str) -> frozenset[str]:
    """The worker's sessions that are alive, without those that said good-bye."""
    sessions = (state.sessions or {}).get(worker, frozenset())
    view = state.workers.get(worker)
    return sessions - view.left if view else sessions
