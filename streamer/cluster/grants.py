"""The assignments that follow from the step of the plan, for workers that can own tasks.

A task is granted only where no other incarnation may own it; until then its next owner keeps a
copy. Copies own nothing, so they are given without asking anybody.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamer.cluster.plan import Plan
from streamer.cluster.view import WorkerView
from streamer.control.identity import Incarnation
from streamer.control.messages import FORMAT, AssignmentRecord, task_names
from streamer.ids import TaskId

__all__ = ["grants", "record_of"]


def grants(
    workers: Mapping[str, WorkerView],
    plan: Plan,
    ready: Mapping[str, Incarnation],
    *,
    paused: tuple[str, int] = ("", 0),
) -> dict[str, AssignmentRecord]:
    """What each worker shall have now, where that differs from what it was granted last: the pause
    too, by its number and its lease in ms."""
    owners = _owners(workers)
    records = {}
    for worker in sorted(plan.workers & ready.keys()):
        view, incarnation = workers[worker], ready[worker]
        grant = view.grant if view.holder == incarnation else None
        held = grant.tasks if grant else frozenset()
        alone = (worker, incarnation)
        share = plan.share(worker)
        tasks = frozenset(
            task for task in share if task in held or owners.get(task, alone) == alone
        )
        standbys = plan.copies(worker) | (share - tasks - plan.stateless)
        releasing = view.possible(incarnation) - tasks
        is_same = grant is not None and (grant.tasks, grant.standbys) == (tasks, standbys)
        is_same &= grant is not None and grant.record.paused == paused[0]
        if grant is None or not is_same or not releasing <= grant.releasing:
            records[worker] = record_of(
                worker,
                incarnation,
                tasks=task_names(tasks),
                standbys=task_names(standbys),
                releasing=task_names(releasing),
                paused=paused,
                why=plan.why,
            )
    return records


def _owners(
    workers: Mapping[str, WorkerView],
) -> dict[TaskId, tuple[str, Incarnation] | None]:
    """Who alone may own each task; None where several may."""
    owners: dict[TaskId, tuple[str, Incarnation] | None] = {}
    for worker, view in workers.items():
        for incarnation in view.owners():
            possible = view.possible(incarnation)
            contested = owners.keys() & possible
            owners.update(dict.fromkeys(possible, (worker, incarnation)))
            owners.update(dict.fromkeys(contested))
    return owners


def record_of(
    worker: str,
    incarnation: Incarnation,
    *,
    tasks: tuple[str, ...],
    why: str,
    standbys: tuple[str, ...] = (),
    releasing: tuple[str, ...] = (),
    ended: bool = False,
    paused: tuple[str, int] = ("", 0),
) -> AssignmentRecord:
    """Without version, losers, shape, controller and time: those come when it is written."""
    return AssignmentRecord(
        format=FORMAT,
        version=0,
        worker=worker,
        incarnation=str(incarnation),
        tasks=tasks,
        releasing=releasing,
        standbys=standbys,
        ended=ended,
        paused=paused[0],
        pause_ms=paused[1],
        why=why,
    )
