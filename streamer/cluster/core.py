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
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from streamer.assignment.facts import Load, Site
from streamer.cluster.events import (
    Action,
    Event,
    Fence,
    Fenced,
    FenceFailed,
    Forget,
    Members,
    PauseEnded,
    Requested,
    Resign,
    Status,
    Tell,
    Write,
)
from streamer.cluster.grants import grants, record_of
from streamer.cluster.plan import World
from streamer.cluster.state import State, sessions_of, site_of, view_of
from streamer.cluster.view import Grant, WorkerView
from streamer.control.identity import Incarnation
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.requests import PauseRecord, PlanRecord
from streamer.ids import TaskId

__all__ = ["FENCE_RETRY_MS", "FORGET_MS", "TIDY_MS", "step", "tell"]

FENCE_RETRY_MS = 1_000
# Long enough that a worker which was away for some days still gets its own tasks back.
FORGET_MS = 7 * 86_400_000
TIDY_MS = 60_000

Records = dict[str, AssignmentRecord]


def step(state: State, events: Sequence[Event], *, now_ms: int, wall_ms: int = 0) -> list[Action]:
    """Take in what happened and return what to do, in this order. `now_ms` never goes back."""
    # Not a generator: every event must be taken in.
    is_news = any([_take_in(state, event, now_ms) for event in events])
    state.wishes.is_stirred |= is_news
    if state.sessions is None:
        return []
    is_due = state.plan.attendance.is_waiting or any(state.fencing.values()) or state.hold.is_on
    ends = [state.pause.ending] if state.pause.is_to_end(now_ms) else []
    if not (is_news or is_due or ends):
        return [*_forget(state, now_ms=now_ms, wall_ms=wall_ms)]
    fences: list[Action] = [*_fences(state, now_ms), *ends]
    pending = sum(retry_ms is None for retry_ms in state.fencing.values())
    state.hold.look(pending, is_news=is_news, now_ms=now_ms)
    if state.hold.is_on:
        return fences
    is_news = state.hold.release()
    if state.pause.look(state.workers):
        is_news = True
        state.wishes.hurry()
    if others := _owners_of_another_shape(state):
        theirs = state.wishes.predecessor
        topology = theirs.topology if theirs and state.shape.differs(theirs.shape) else ()
        resign = [Resign(topology)] if _is_any_alive(state, others) else []
        return [*fences, *_write(state, _ends(state), now_ms=now_ms, wall_ms=wall_ms), *resign]
    ready = _ready(state)
    present = _present(state)

    def update(is_news: bool) -> bool:
        return state.plan.update(
            ready.keys(),
            present,
            now_ms=now_ms,
            is_news=is_news,
            look=lambda: _world(state, ready),
        )

    # Before the step that is due: nothing is moved any more from here on.
    is_news |= state.wishes.stop(state.plan)
    is_news |= update(is_news)
    if state.wishes.fulfil(state.plan):
        is_news |= update(True)
    state.wishes.is_stirred |= is_news
    records = _ends(state) | _notices(state) | _refusals(state) if is_news else {}
    if is_news:
        records |= grants(state.workers, state.plan, ready, paused=state.pause.carried)
    return [*fences, *_write(state, records, now_ms=now_ms, wall_ms=wall_ms)]


def tell(state: State, *, now_ms: int, wall_ms: int) -> list[Tell]:
    """What is to be published now; not before what it follows from is written."""
    if state.sessions is None or state.hold.is_on or not state.wishes.is_due(now_ms):
        return []
    plan, world, about = state.plan, _world(state, _ready(state)), _about(state)
    answers = (
        state.wishes.propose(plan, world, wall_ms=wall_ms),
        state.wishes.tell(plan, world, about=about, now_ms=now_ms, wall_ms=wall_ms),
    )
    return [Tell(answer) for answer in answers if answer is not None]


def _about(state: State) -> PlanRecord:
    shape = state.shape
    return PlanRecord(
        controller=state.name,
        shape=shape.digest,
        topology=shape.parts,
        outline=state.outline,
        pause=state.pause.told,
        unpaused=state.pause.unpaused,
    )


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
            lag_max = state.plan.policy.limits.warm_lag_max
            return view_of(state, record.worker).hear(record, lag_max) or is_first
        case Requested(PauseRecord() as asked):
            is_new = state.pause.hear(asked, now_ms)
            if is_new:
                state.wishes.hurry()
            return is_new
        case PauseEnded(number, layout):
            # After a switch nobody processes under this layout again, this worker least of all.
            is_done = layout is not None and layout <= state.layout
            return state.pause.tried(number, is_done=is_done, now_ms=now_ms)
        case Requested(request):
            return state.wishes.hear(request, state.plan)
        case FenceFailed(worker):
            state.fencing[worker] = now_ms + FENCE_RETRY_MS
            return False
        case Fenced(worker, incarnations):
            state.fencing.pop(worker, None)
            view_of(state, worker).fence(incarnations)
            return True


def _fences(state: State, now_ms: int) -> list[Fence]:
    """An owner that is gone, and processes that contend for one worker id, must be fenced."""
    fences = []
    for worker, view in sorted(state.workers.items()):
        listed = sessions_of(state, worker)
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
    return any(one.session in sessions_of(state, worker) for worker, one in others & state.spoken)


def _strangers(state: State, worker: str) -> set[Incarnation]:
    """Its living incarnations that have another shape."""
    view, listed = state.workers[worker], sessions_of(state, worker)
    living = (one for one in view.known() if one.session in listed)
    return {one for one in living if state.shape.differs(view.shape(one))}


def _ready(state: State) -> dict[str, Incarnation]:
    """Workers that can own tasks, each with its one incarnation."""
    ready = {}
    for worker, view in state.workers.items():
        listed = sessions_of(state, worker)
        living = {one for one in view.known() if one.session in listed}
        is_free = worker not in state.fencing and not _strangers(state, worker)
        if is_free and len(living) == 1 and view.owners() <= living:
            ready[worker] = next(iter(living))
    return ready


def _present(state: State) -> set[str]:
    """Workers of which a process is alive that may be ready soon."""
    present = set()
    for worker in state.sessions or {}:
        view = state.workers.get(worker)
        refused = view.grant.record.refused if view and view.grant else ()
        if sessions_of(state, worker).difference(refused) and not (
            view and _strangers(state, worker)
        ):
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
        living = {one for one in view.known() if one.session in sessions_of(state, worker)}
        grant = view.grant
        if living:
            goes_on = grant if grant is not None and grant.incarnation in living else None
        elif grant is not None and grant.record.ended and grant.incarnation in silenced:
            goes_on = grant
        else:
            winner = max(silenced, key=lambda one: (not grant or one != grant.incarnation, one))
            tasks = _former_tasks(state, view)
            why = "it was fenced, and may come back"
            record = record_of(worker, winner, tasks=tasks, ended=True, why=why)
            notices[worker] = replace(record, standbys=grant.record.standbys if grant else ())
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
            record = record_of(worker, stranger, tasks=tasks, ended=True, why=why)
            refusals[worker] = replace(record, topology=state.shape.parts)
    return refusals


def _former_tasks(state: State, view: WorkerView) -> tuple[str, ...]:
    """What its last assignment named, where those names mean the same today."""
    if view.grant is None or state.shape.differs(view.grant.record.shape):
        return ()
    return view.grant.record.tasks


def _silenced(state: State, worker: str) -> set[Incarnation]:
    """Those that were fenced, live, and have not come back."""
    view = state.workers.get(worker)
    listed = sessions_of(state, worker)
    return {one for one in view.silenced() if one.session in listed} if view else set()


def _losers(state: State, winner: Grant) -> set[str]:
    silenced = _silenced(state, winner.record.worker)
    return {one.session for one in silenced} - {winner.incarnation.session}


def _world(state: State, ready: Mapping[str, Incarnation]) -> World:
    """What the plan goes by, as workers that are ready have said it; where those are that are away,
    by their last word."""
    heard = {worker: view.heard for worker, view in state.workers.items()}
    sites = {worker: site_of(last) for worker, last in heard.items() if last is not None}
    lags: dict[TaskId, dict[str, int]] = defaultdict(dict)
    loads: dict[TaskId, Load] = {}
    running: set[TaskId] = set()
    owners: dict[TaskId, set[str]] = defaultdict(set)
    for worker, incarnation in ready.items():
        report = state.workers[worker].reports.get(incarnation)
        if report is None:
            continue
        running |= report.running
        for task, lag in report.lags.items():
            lags[task][worker] = lag
        loads |= report.loads
        for task in report.tasks:
            owners[task].add(worker)
    return World(sites, lags, loads, running, owners, _held(state, sites))


def _held(state: State, sites: Mapping[str, Site]) -> dict[str, int]:
    """Of each drained worker, how many tasks it may still own and copies it still has."""
    drains = state.plan.drains
    if not drains.is_any:
        return {}
    held = {}
    for worker, view in state.workers.items():
        if drains.holds(worker, sites.get(worker, Site())):
            copies = set(view.grant.standbys) if view.grant and view.holder else set()
            # One that was fenced and is back in a moment owns nothing, and is given these again.
            copies |= state.plan.share(worker) | state.plan.copies(worker)
            for one in view.known():
                copies |= view.possible(one)
                copies.update(view.reports[one].lags if one in view.reports else ())
            held[worker] = len(copies)
    return held


def _write(state: State, records: Records, *, now_ms: int, wall_ms: int) -> list[Write]:
    """One transaction, one version. From here on the grants count, and the next controller finds
    the target that they lead to, with the answer to whoever asked for it."""
    plan = state.plan
    is_other = plan.revision != state.revision
    if not (records or is_other):
        return []
    state.version += bool(records)
    written = []
    # A step goes towards the target, and so does what follows from the grants; but for those that
    # have ended, and those that come after such an end. Pieces are taken back when nothing is built
    # any more.
    is_off = is_other
    for worker, record in sorted(records.items()):
        former = state.workers[worker].grant
        is_off |= record.ended or not former or former.record.incarnation != record.incarnation
        final = replace(
            record,
            version=state.version,
            refused=tuple(sorted(_losers(state, Grant.of(record)))),
            shape=record.shape or state.shape.digest,
            at_ms=wall_ms,
        )
        state.workers[worker].take(final)
        written.append(final)
    is_near = not (state.goal.is_empty or plan.step.building or plan.step.waiting)
    goal = state.goal.changes(plan.target, state.workers) if is_off or is_near else {}
    told = None
    if is_other:
        state.revision = plan.revision
        world, about = _world(state, _ready(state)), _about(state)
        told = state.wishes.tell(plan, world, about=about, now_ms=now_ms, wall_ms=wall_ms)
    return [Write(tuple(written), goal, told)] if written or goal or told else []


def _forget(state: State, *, now_ms: int, wall_ms: int) -> list[Forget]:
    if state.sessions is None or now_ms < state.tidied_ms + TIDY_MS:
        return []
    state.tidied_ms = now_ms
    old = [
        worker
        for worker, view in sorted(state.workers.items())
        if 0 < view.last_ms < wall_ms - FORGET_MS
        and not view.owners()
        and not sessions_of(state, worker)
    ]
    for worker in old:
        del state.workers[worker]
    return [Forget(tuple(old))] if old else []
