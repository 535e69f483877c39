"""The controller as a step without I/O: what it knows, and what happened, give what to do.

    step(state, events, now_ms=..., wall_ms=...) -> actions

Always: a task is granted to an incarnation only if no other incarnation may own it (view.py), and
an incarnation that cannot say so itself is fenced before what it may own is granted elsewhere.
Task ids mean something within one topology, so none is granted while an incarnation of another
may own any. Those who own go before those who come: these are refused, be it the controller.
A grant counts from the moment it is asked for. If writing it fails, the controller resigns and
begins again from the log. Two controllers at once are harmless: the later one makes the earlier
one's writes impossible before it reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from streamer.cluster.events import (
    Action,
    Event,
    Fence,
    Fenced,
    FenceFailed,
    Forget,
    Members,
    Resign,
    Status,
    Write,
)
from streamer.cluster.plan import Plan
from streamer.cluster.view import Grant, WorkerView
from streamer.control.identity import Incarnation
from streamer.control.messages import FORMAT, AssignmentRecord, StatusRecord, task_ids, task_names
from streamer.ids import TaskId
from streamer.topology.shape import Shape

__all__ = ["FENCE_RETRY_MS", "FORGET_MS", "TIDY_MS", "State", "load", "step"]

FENCE_RETRY_MS = 1_000
# Long enough that a worker which was away for some days still gets its own tasks back.
FORGET_MS = 7 * 86_400_000
TIDY_MS = 60_000

Records = dict[str, AssignmentRecord]


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


def load(
    name: str,
    tasks: Iterable[TaskId],
    *,
    shape: Shape | None = None,
    assignments: Iterable[AssignmentRecord],
    statuses: Iterable[StatusRecord],
) -> State:
    """What a new controller knows from the topics, once its predecessor can write no more."""
    state = State(name, Plan(frozenset(tasks)), shape or Shape())
    for assignment in assignments:
        _view(state, assignment.worker).take(assignment)
        state.version = max(state.version, assignment.version)
        if not state.shape.differs(assignment.shape):
            tasks = task_ids(assignment.tasks)
            state.plan.remember(assignment.worker, tasks, ended=assignment.ended)
    for status in statuses:
        # The assignments may be lost with their topic: a version that was seen is not used again.
        state.version = max(state.version, status.seen)
        _view(state, status.worker).hear(status)
    return state


def step(state: State, events: Sequence[Event], *, now_ms: int, wall_ms: int = 0) -> list[Action]:
    """Take in what happened and return what to do, in this order. `now_ms` never goes back."""
    # Not a generator: every event must be taken in.
    is_news = any([_take_in(state, event, now_ms) for event in events])
    is_due = state.plan.is_waiting or any(state.fencing.values())
    if state.sessions is None or not (is_news or is_due):
        return [*_forget(state, now_ms=now_ms, wall_ms=wall_ms)]
    fences = _fences(state, now_ms)
    if others := _owners_of_another_shape(state):
        resign = [Resign(_topology(state, others))] if _is_any_alive(state, others) else []
        return [*fences, *_write(state, _ends(state), wall_ms), *resign]
    ready = _ready(state)
    is_news |= state.plan.update(ready.keys(), _present(state), now_ms=now_ms)
    records = _ends(state) | _notices(state) | _refusals(state) if is_news else {}
    records |= _grants(state, ready) if is_news else {}
    return [*fences, *_write(state, records, wall_ms)]


def _take_in(state: State, event: Event, now_ms: int) -> bool:
    """Whether it changes who may own what, or who is there."""
    match event:
        case Members(sessions):
            listed: dict[str, set[str]] = defaultdict(set)
            for worker, session in sessions:
                listed[worker].add(session)
            before = state.sessions
            state.sessions = {worker: frozenset(each) for worker, each in listed.items()}
            return state.sessions != before
        case Status(record):
            is_first = _note_stranger(state, record)
            return _view(state, record.worker).hear(record) or is_first
        case FenceFailed(worker):
            state.fencing[worker] = now_ms + FENCE_RETRY_MS
            return False
        case Fenced(worker, incarnations):
            state.fencing.pop(worker, None)
            _view(state, worker).fence(incarnations)
            return True


def _fences(state: State, now_ms: int) -> list[Fence]:
    """An owner that is gone, and processes that contend for one worker id, must be fenced."""
    fences = []
    for worker, view in sorted(state.workers.items()):
        listed = _listed(state, worker)
        owners = view.owners()
        rivals = owners | {one for one in view.known() if one.session in listed}
        is_gone = any(one.session not in listed for one in owners)
        if not is_gone and len({one.session for one in rivals}) < 2:
            if state.fencing.get(worker) is not None:
                del state.fencing[worker]
            continue
        retry_ms = state.fencing.get(worker, now_ms)
        if retry_ms is not None and retry_ms <= now_ms:
            state.fencing[worker] = None
            fences.append(Fence(worker, frozenset(rivals)))
    return fences


def _note_stranger(state: State, record: StatusRecord) -> bool:
    """Whether one of another shape has spoken for the first time."""
    speaker = (record.worker, Incarnation.parse(record.incarnation))
    if not state.shape.differs(record.shape) or speaker in state.spoken:
        return False
    state.spoken.add(speaker)
    return True


def _owners_of_another_shape(state: State) -> set[tuple[str, Incarnation]]:
    return {
        (worker, one)
        for worker, view in state.workers.items()
        for one in view.owners()
        if state.shape.differs(view.shape(one))
    }


def _is_any_alive(state: State, others: set[tuple[str, Incarnation]]) -> bool:
    """A process that was killed is listed for a while, but says nothing any more."""
    return any(one.session in _listed(state, worker) for worker, one in others & state.spoken)


def _topology(state: State, others: set[tuple[str, Incarnation]]) -> tuple[str, ...]:
    """What assignments tell of theirs; a status has the digest alone."""
    grants = [state.workers[worker].grant for worker, _ in sorted(others)]
    told = [
        grant.record.topology
        for grant in grants
        if grant is not None and state.shape.differs(grant.record.shape)
    ]
    return told[0] if told else ()


def _strangers(state: State, worker: str) -> set[Incarnation]:
    """Its living incarnations that have another shape."""
    view, listed = state.workers[worker], _listed(state, worker)
    living = (one for one in view.known() if one.session in listed)
    return {one for one in living if state.shape.differs(view.shape(one))}


def _ready(state: State) -> dict[str, Incarnation]:
    """Workers that can own tasks, each with its one incarnation."""
    ready = {}
    for worker, view in state.workers.items():
        listed = _listed(state, worker)
        living = {one for one in view.known() if one.session in listed}
        is_free = worker not in state.fencing and not _strangers(state, worker)
        if is_free and len(living) == 1 and view.owners() <= living:
            ready[worker] = next(iter(living))
    return ready


def _present(state: State) -> set[str]:
    """Workers of which a process is in the group that may be ready soon."""
    present = set()
    for worker in state.sessions or {}:
        view = state.workers.get(worker)
        refused = view.grant.record.refused if view and view.grant else ()
        if _listed(state, worker).difference(refused) and not (view and _strangers(state, worker)):
            present.add(worker)
    return present


def _ends(state: State) -> Records:
    """Assignments whose holder is retired, though they do not say so yet."""
    ends = {}
    for worker, view in state.workers.items():
        if view.grant is not None and not view.grant.record.ended and view.holder is None:
            left = view.grant.incarnation.session in view.left
            why = "it left" if left else "it was fenced"
            ends[worker] = replace(view.grant.record, ended=True, releasing=(), why=why)
    return ends


def _notices(state: State) -> Records:
    """Tell a process that was fenced while it lives: it comes back anew, or has lost for good.

    Of several processes one that did not own anything goes on: it is what a supervisor started in
    place of the owner. The others are refused; `_write` names them.
    """
    notices = {}
    for worker, view in state.workers.items():
        # One of another topology is refused for that, and not preferred to an owner.
        silenced = _silenced(state, worker) - _strangers(state, worker)
        if not silenced or worker in state.fencing:
            continue
        living = {one for one in view.known() if one.session in _listed(state, worker)}
        grant = view.grant
        if living:
            goes_on = grant if grant is not None and grant.incarnation in living else None
        elif grant is not None and grant.record.ended and grant.incarnation in silenced:
            goes_on = grant
        else:
            winner = max(silenced, key=lambda one: (not grant or one != grant.incarnation, one))
            tasks = _former_tasks(state, view)
            why = "it was fenced, and may come back"
            notices[worker] = _record(worker, winner, tasks=tasks, ended=True, why=why)
            continue
        if goes_on is not None and not _losers(state, goes_on) <= set(goes_on.record.refused):
            notices[worker] = goes_on.record
    return notices


def _refusals(state: State) -> Records:
    """Tell processes of another topology that they have no place here. They never had a task."""
    refusals = {}
    for worker, view in state.workers.items():
        strangers = _strangers(state, worker)
        if len(strangers) == 1 and not view.owners() and worker not in state.fencing:
            [stranger] = strangers
            tasks = _former_tasks(state, view)
            why = "it has another topology"
            refusals[worker] = _record(worker, stranger, tasks=tasks, ended=True, why=why)
    return refusals


def _former_tasks(state: State, view: WorkerView) -> tuple[str, ...]:
    """What its last assignment named, where those names mean the same today."""
    if view.grant is None or state.shape.differs(view.grant.record.shape):
        return ()
    return view.grant.record.tasks


def _silenced(state: State, worker: str) -> set[Incarnation]:
    """Those that were fenced, live, and have not come back."""
    view = state.workers.get(worker)
    listed = _listed(state, worker)
    return {one for one in view.silenced() if one.session in listed} if view else set()


def _losers(state: State, winner: Grant) -> set[str]:
    silenced = _silenced(state, winner.record.worker)
    return {one.session for one in silenced} - {winner.incarnation.session}


def _grants(state: State, ready: Mapping[str, Incarnation]) -> Records:
    """What each worker shall have now, where that differs from what it was granted last."""
    owners: dict[TaskId, set[tuple[str, Incarnation]]] = defaultdict(set)
    for worker, view in state.workers.items():
        for incarnation in view.owners():
            for task in view.possible(incarnation):
                owners[task].add((worker, incarnation))
    records = {}
    for worker in sorted(state.plan.workers & ready.keys()):
        view, incarnation = state.workers[worker], ready[worker]
        grant = view.grant if view.holder == incarnation else None
        held = grant.tasks if grant else frozenset()
        alone = {(worker, incarnation)}
        tasks = frozenset(
            task
            for task in state.plan.share(worker)
            if task in held or owners.get(task, alone) == alone
        )
        releasing = view.possible(incarnation) - tasks
        if grant is None or grant.tasks != tasks or not releasing <= grant.releasing:
            record = _record(worker, incarnation, tasks=task_names(tasks), why=state.plan.why)
            records[worker] = replace(record, releasing=task_names(releasing))
    return records


def _write(state: State, records: Records, wall_ms: int) -> list[Write]:
    """One transaction, one version. From here on the grants count."""
    if not records:
        return []
    state.version += 1
    written = []
    for worker, record in sorted(records.items()):
        final = replace(
            record,
            version=state.version,
            refused=tuple(sorted(_losers(state, Grant.of(record)))),
            shape=record.shape or state.shape.digest,
            topology=record.topology if record.shape else state.shape.parts,
            controller=state.name,
            at_ms=wall_ms,
        )
        state.workers[worker].take(final)
        written.append(final)
    return [Write(tuple(written))]


def _forget(state: State, *, now_ms: int, wall_ms: int) -> list[Forget]:
    if state.sessions is None or now_ms < state.tidied_ms + TIDY_MS:
        return []
    state.tidied_ms = now_ms
    old = [
        worker
        for worker, view in sorted(state.workers.items())
        if 0 < view.last_ms < wall_ms - FORGET_MS
        and not view.owners()
        and not _listed(state, worker)
    ]
    for worker in old:
        del state.workers[worker]
    return [Forget(tuple(old))] if old else []


def _record(
    worker: str,
    incarnation: Incarnation,
    *,
    tasks: tuple[str, ...],
    why: str,
    ended: bool = False,
) -> AssignmentRecord:
    """Without version, losers, shape, controller and time: those come when it is written."""
    return AssignmentRecord(
        format=FORMAT,
        version=0,
        worker=worker,
        incarnation=str(incarnation),
        tasks=tasks,
        ended=ended,
        why=why,
    )


def _view(state: State, worker: str) -> WorkerView:
    return state.workers.setdefault(worker, WorkerView())


def _listed(state: State, worker: str) -> frozenset[str]:
    """The worker's sessions in the group, without those that said good-bye."""
    sessions = (state.sessions or {}).get(worker, frozenset())
    view = state.workers.get(worker)
    return sessions - view.left if view else sessions
