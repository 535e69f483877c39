"""From the copies that there are towards those that the placement wants, one safe step at a time.

    B active            target: A             A builds a copy, B goes on
    B active, A warm                          A active; B lets go first, as every owner does
    A active                                  B's copy is dropped once all wanted ones are warm

Pure, and asked again whenever something happens: a second failure in the middle is one more
situation to step from. A copy that is cold never becomes active while a warm one lives, and no
copy is given up before all that are to stay are warm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field

from streamer.assignment.facts import Copies
from streamer.ids import TaskId

__all__ = ["Known", "Limits", "Step", "next_step"]

Workers = frozenset[str]
_NONE: Workers = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """`warm_lag_max` is in offsets of the changelogs; the others bound copies that are built."""

    warm_lag_max: int = 10_000
    building_max: int = 64
    building_per_worker_max: int = 4


@dataclass(frozen=True, slots=True)
class Known:
    """Where things stand. `lags` are what living workers say of their copies, -1 where they do not
    know; `actives` and `standbys` are what they were told last, and `running` the tasks of which
    the owner says that it has restored them."""

    live: Set[str]
    actives: Mapping[TaskId, str]
    standbys: Mapping[TaskId, Workers]
    lags: Mapping[TaskId, Mapping[str, int]]
    running: Collection[TaskId] = ()
    stateless: Collection[TaskId] = ()

    def lag(self, task: TaskId, worker: str) -> int:
        return self.lags.get(task, {}).get(worker, -1)


@dataclass(slots=True)
class Step:
    """What workers are to have now. `waiting` counts copies that the limits hold back."""

    actives: dict[TaskId, str] = field(default_factory=dict)
    standbys: dict[TaskId, Workers] = field(default_factory=dict)
    building: int = 0
    waiting: int = 0


def next_step(target: Mapping[TaskId, Copies], known: Known, limits: Limits) -> Step:
    """The next step towards the target; the same as the last one where nothing can be done yet."""
    step = Step()
    wishes: list[tuple[int, TaskId, str]] = []
    for task, copies in target.items():
        held = known.standbys.get(task, _NONE)
        if _is_there(task, copies, held, known):
            step.actives[task] = known.actives[task]
            step.standbys[task] = held
            continue
        active = _active(task, copies, known, limits)
        if active is None:
            continue
        step.actives[task] = active
        if task not in known.stateless:
            kept, wished = _copies(task, copies, active, known=known, limits=limits)
            step.standbys[task] = kept
            wishes += [(len(kept), task, worker) for worker in wished]
    _admit(wishes, step, known, limits)
    step.standbys = {task: workers for task, workers in step.standbys.items() if workers}
    return step


def _is_there(task: TaskId, copies: Copies, held: Workers, known: Known) -> bool:
    """Nothing is to be done: so it is with nearly all tasks of a large fleet, whenever one asks."""
    return (
        copies.active is not None
        and known.actives.get(task) == copies.active
        and copies.active in known.live
        and len(held) == len(copies.standbys)
        and held.issuperset(copies.standbys)
        and held <= known.live
        and task not in known.stateless
    )


def _active(task: TaskId, copies: Copies, known: Known, limits: Limits) -> str | None:
    """Who is to process the task now: the target once it is warm, its owner until then."""
    present = known.actives.get(task)
    wanted = copies.active if copies.active in known.live else None
    if present in known.live:
        if wanted is None or wanted == present or task in known.stateless:
            return wanted or present
        return wanted if _is_warm(task, wanted, known, limits) else present
    if task in known.stateless:
        return wanted
    # Among warm ones the wanted one, then one that is to stay; else whoever has least to read.
    ranked = [
        (
            0 if lag <= limits.warm_lag_max else lag,
            worker != wanted,
            worker not in copies.standbys,
            worker,
        )
        for worker, lag in known.lags.get(task, {}).items()
        if lag >= 0 and worker in known.live
    ]
    return min(ranked)[3] if ranked else wanted


def _copies(
    task: TaskId, copies: Copies, active: str, *, known: Known, limits: Limits
) -> tuple[Workers, list[str]]:
    """Copies that stay, and those that are to be built."""
    wanted = frozenset(copies.workers).difference({active}) & known.live
    present = known.standbys.get(task, _NONE)
    former = known.actives.get(task)
    if former is not None and former != active:
        present = present | {former}  # it has everything, and becomes a copy when it lets go
    present = (present & known.live) - {active}
    # An owner that was promoted when it was warm is as good as restored.
    is_restored = task in known.running or _is_warm(task, active, known, limits)
    if is_restored and all(
        _is_warm(task, worker, known, limits) for worker in wanted if worker != former
    ):
        return wanted, []
    return present, sorted(wanted - present)


def _admit(wishes: list[tuple[int, TaskId, str]], step: Step, known: Known, limits: Limits) -> None:
    """Begin as many copies as the limits allow; first those of tasks that have fewest."""
    lag_max, nothing = limits.warm_lag_max, dict[str, int]()
    building = Counter[str]()
    for task, workers in step.standbys.items():
        lags = known.lags.get(task, nothing)
        for worker in workers:
            if not 0 <= lags.get(worker, -1) <= lag_max:
                building[worker] += 1
    step.building = building.total()
    for _, task, worker in sorted(wishes):
        is_full = building[worker] >= limits.building_per_worker_max
        if is_full or step.building >= limits.building_max:
            step.waiting += 1
            continue
        building[worker] += 1
        step.building += 1
        step.standbys[task] |= {worker}


def _is_warm(task: TaskId, worker: str, known: Known, limits: Limits) -> bool:
    return 0 <= known.lag(task, worker) <= limits.warm_lag_max
