"""Who keeps the copies of the next layout: placed as a controller of that layout would place them.

Tasks that are not moved stay where they are. Those that are moved go where a copy of them is,
once one is ordered. So the copies are warm where the controller of the next layout begins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from typing import cast

from streamer.assignment.facts import Copies, Facts, Load, Policy, Presence, Site
from streamer.assignment.place import place
from streamer.cluster.state import site_of
from streamer.config import Config
from streamer.control.goals import goal_rows
from streamer.control.layouts import LayoutRecord
from streamer.control.messages import StandbyReport, StatusRecord
from streamer.control.orders import Order, ShadowOrder
from streamer.ids import TaskId
from streamer.operations.repartition.ports import Row
from streamer.operations.repartition.request import Asked

__all__ = [
    "Shadows",
    "goal_of",
    "is_kept",
    "is_warm",
    "not_running",
    "ordered",
    "placed",
    "reports",
    "shadows_of",
]

Shadows = Mapping[str, frozenset[TaskId]]
"""The tasks of the next layout of which workers keep copies, by worker."""


def ordered(asked: Asked, orders: Mapping[str, Order]) -> dict[str, frozenset[TaskId]]:
    """What this operation has told workers to keep."""
    return {
        one.worker: frozenset(map(TaskId.parse, one.tasks))
        for one in orders.values()
        if isinstance(one, ShadowOrder) and one.operation == asked.number
    }


def placed(
    asked: Asked,
    config: Config,
    statuses: Mapping[str, StatusRecord],
    *,
    shadows: Shadows,
    draining: Set[str] = frozenset(),
) -> dict[TaskId, Copies]:
    """Who shall have each task of the next layout, among the workers that live: nobody who is
    `draining`, unless all are."""
    held: dict[TaskId, list[str]] = defaultdict(list)
    for worker in sorted(shadows.keys() & statuses.keys()):
        for task in shadows[worker]:
            held[task].append(worker)
    known = reports(asked, statuses)
    moved = set(asked.moved)
    previous: dict[TaskId, Copies] = {}
    warm: dict[TaskId, frozenset[str]] = {}
    for task in asked.after.layout.tasks:
        if task.subtopology in moved:
            warm[task] = frozenset(
                worker for worker in held[task] if is_warm(known.get((worker, task)), config)
            )
            previous[task] = _roles(task, held[task], warm[task])
        else:
            previous[task] = _stays(task, statuses)
            warm[task] = frozenset(previous[task].workers)
    layout = asked.after.layout
    found = place(
        Facts(
            workers=_sites(statuses, draining),
            tasks={
                task: Load(has_state=layout.subtopologies[task.subtopology].keeps_state)
                for task in layout.tasks
            },
            standby_replicas=config.standby_replicas,
            previous=previous,
            warm=warm,
            zone_policy=cast(Policy, config.zone_policy),
        )
    ).copies
    # Nobody keeps a copy of those for the switch: elsewhere they would be restored as a whole.
    stays = {
        task: one
        for task, one in previous.items()
        if task.subtopology not in moved and one.active is not None
    }
    return found | stays


def shadows_of(asked: Asked, copies: Mapping[TaskId, Copies]) -> dict[str, frozenset[TaskId]]:
    """By worker, what it is to keep for this placement."""
    found: dict[str, set[TaskId]] = defaultdict(set)
    for task in asked.shadows:
        for worker in copies[task].workers:
            found[worker].add(task)
    return {worker: frozenset(tasks) for worker, tasks in sorted(found.items())}


def goal_of(asked: Asked, copies: Mapping[TaskId, Copies]) -> list[Row]:
    """Where the tasks of the next layout shall begin, as rows for its controller."""
    actives: dict[str, set[TaskId]] = defaultdict(set)
    standbys: dict[str, set[TaskId]] = defaultdict(set)
    for task, one in copies.items():
        if one.active is not None:
            actives[one.active].add(task)
            for worker in one.standbys:
                standbys[worker].add(task)
    number = asked.after.number
    return list(goal_rows(asked.application, number, actives, standbys=standbys))


def reports(
    asked: Asked, statuses: Mapping[str, StatusRecord]
) -> dict[tuple[str, TaskId], StandbyReport]:
    """What workers say of the copies that this operation had them keep."""
    return {
        (worker, TaskId.parse(task)): report
        for worker, one in statuses.items()
        if one.shadows_of == asked.number
        for task, report in one.shadows.items()
    }


def not_running(
    record: LayoutRecord, statuses: Mapping[str, StatusRecord], is_of: Callable[[str], bool]
) -> list[str]:
    """The tasks of a layout that no worker says to run, of those whose shape `is_of` it."""
    running = {
        task
        for one in statuses.values()
        if is_of(one.shape)
        for task, report in one.tasks.items()
        if report.state == "running"
    }
    return [str(task) for task in record.layout.tasks if str(task) not in running]


def is_kept(report: StandbyReport | None) -> bool:
    """Whether there is such a copy, and it follows."""
    return report is not None and report.state != "failed"


def is_warm(report: StandbyReport | None, config: Config, *, times: int = 1) -> bool:
    """Whether it has so little to read that it could take over; or a few times of that."""
    if report is None or not is_kept(report):
        return False
    return report.is_current or 0 <= report.lag_records <= times * config.acceptable_recovery_lag


def _roles(task: TaskId, held: list[str], warm: Set[str]) -> Copies:
    """As if one of those that keep a copy had the task, so that what is there stays: a warm one
    where there is any, and not the same worker for all tasks."""
    turn = task.partition % max(len(held), 1)
    order = sorted(held[turn:] + held[:turn], key=lambda worker: worker not in warm)
    return Copies(order[0], tuple(order[1:])) if order else Copies(None)


def _sites(statuses: Mapping[str, StatusRecord], draining: Set[str]) -> dict[str, Site]:
    sites = {worker: site_of(one) for worker, one in statuses.items()}
    if sites.keys() <= draining:
        return sites
    return {
        worker: replace(site, presence=Presence.DRAINING) if worker in draining else site
        for worker, site in sites.items()
    }


def _stays(task: TaskId, statuses: Mapping[str, StatusRecord]) -> Copies:
    name = str(task)
    actives = [worker for worker, one in sorted(statuses.items()) if name in one.tasks]
    standbys = [worker for worker, one in sorted(statuses.items()) if name in one.standbys]
    return Copies(actives[0] if actives else None, tuple(standbys))
