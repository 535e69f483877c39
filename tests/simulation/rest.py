"""What every life has to come to once the trouble is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from streamer.cluster.term import Term
from streamer.ids import TaskId
from tests.simulation.process import WARM_LAG_MAX, Process


def is_at_rest(alive: Sequence[Process], term: Term, *, standbys: int) -> bool:
    """Each task has one owner and as many warm copies as can be, all evenly, and nothing is under
    way. `term` is the controller's."""
    owners = Counter[TaskId]()
    for process in alive:
        if process.is_leaving or process.is_fenced or process.seat.is_fenced:
            return False
        if any(state != "running" for state in process.owned.values()):
            return False
        owners.update(process.owned.keys())
    sizes = [len(process.owned) for process in alive]
    if len({process.shape for process in alive}) > 1 or not _is_settled(alive, term):
        return False
    is_each_once = owners.keys() == alive[0].work.tasks and max(owners.values()) == 1
    is_even = max(sizes) - min(sizes) <= 1
    return is_each_once and is_even and _has_its_copies(alive, standbys=standbys)


def _is_settled(alive: Sequence[Process], term: Term) -> bool:
    """The dead are known to be dead, nobody is waited for, and no task is on its way."""
    if term.state is None:
        return False
    plan = term.state.plan
    is_there = all(
        plan.step.actives.get(task) == copies.active
        and set(plan.step.standbys.get(task, ())) == set(copies.standbys)
        for task, copies in plan.target.items()
    )
    # Whoever was told to let go of a task may not have heard of it yet.
    owners = {task: process.worker for process in alive for task in process.owned}
    is_done = all(owners.get(task) == copies.active for task, copies in plan.target.items())
    is_known = term.sessions == {process.key for process in alive}
    return is_known and is_done and is_there and not plan.attendance.is_waiting


def _has_its_copies(alive: Sequence[Process], *, standbys: int) -> bool:
    """As many as can be, warm, where none is kept for a worker that may come back."""
    copies = Counter(task for process in alive for task in process.copies)
    lags = [lag for process in alive for lag in process.copies.values()]
    if any(not 0 <= lag <= WARM_LAG_MAX for lag in lags):
        return False
    places, work = {each.zone or each.worker for each in alive}, alive[0].work
    wanted = min(standbys, len(places) - 1)
    return all(copies[task] == wanted for task in work.tasks - work.stateless)
