"""Who has what, as the control records tell it together. Pure.

A status tells what a worker owned when it spoke, and that it lives; an assignment tells what it
shall own. A task shows where it runs, or where it is expected to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from streamer.control.identity import session_of
from streamer.control.messages import AssignmentRecord, StandbyReport, StatusRecord, TaskReport
from streamer.ids import TaskId, TopicPartition
from streamer.layout import ApplicationLayout

__all__ = [
    "ShadowInfo",
    "TaskInfo",
    "WorkerInfo",
    "lags_of",
    "shadows_of",
    "tasks_of",
    "workers_of",
]

_WAITING = TaskReport(state="restoring")


class WorkerInfo(Struct, frozen=True, kw_only=True):
    """One worker. `assigned` is what it shall own, `tasks` what it says to own, `standbys` of which
    tasks it says to keep a copy."""

    worker: str
    incarnation: str
    is_alive: bool
    is_controller: bool
    address: str
    zone: str
    host: str = ""
    capacity: int | None = None
    """None where it never said."""
    assigned: tuple[str, ...]
    tasks: tuple[str, ...]
    standbys: tuple[str, ...] = ()
    lag_records: int | None
    """Of the tasks that it runs; None where it is gone, or has yet to run one of its tasks."""
    status_age_ms: int


class TaskInfo(Struct, frozen=True, kw_only=True):
    """One task. `state` is what its owner says; `waiting` while nobody has opened it."""

    task: str
    worker: str
    state: str
    lag_records: int | None
    """What its owner says; None while nobody runs it."""
    restore_left_records: int | None
    positions: dict[str, int]
    is_moving: bool
    """Another worker than the owner is to have it."""
    standbys: dict[str, int | None] = {}
    """The workers that live and keep a copy of it, with what each has yet to read of the
    changelogs; None while that is not known, or where the copy has failed."""


class ShadowInfo(Struct, frozen=True, kw_only=True):
    """A copy of a task of the layout that is to follow, which a worker keeps for an operation."""

    task: str
    worker: str
    state: str
    lag_records: int | None
    """What it has yet to read of that layout's changelogs; None while that is not known, or where
    the copy has failed."""
    is_current: bool
    """It has read all that was committed."""
    bytes: int
    operation: str


def workers_of(
    assignments: Mapping[str, AssignmentRecord],
    statuses: Mapping[str, StatusRecord],
    *,
    members: Mapping[tuple[str, str], bool],
    now_ms: int,
) -> list[WorkerInfo]:
    """All workers that are remembered, by name. `members` says of each process that lives whether
    it is the controller."""
    workers = []
    for worker in sorted(assignments.keys() | statuses.keys()):
        status, granted = statuses.get(worker), _granted(assignments.get(worker))
        incarnation = status.incarnation if status else granted.incarnation if granted else ""
        process = (worker, session_of(incarnation)) if incarnation else (worker, "")
        workers.append(
            WorkerInfo(
                worker=worker,
                incarnation=incarnation,
                is_alive=process in members and not (status and status.left),
                is_controller=members.get(process, False),
                address=status.address if status else "",
                zone=status.zone if status else "",
                host=status.host if status else "",
                capacity=status.capacity if status else None,
                assigned=granted.tasks if granted else (),
                tasks=_in_order(status.tasks if status else ()),
                standbys=_in_order(status.standbys if status else ()),
                lag_records=_lag_said(status) if process in members else None,
                status_age_ms=max(0, now_ms - status.at_ms) if status else -1,
            )
        )
    return workers


def tasks_of(
    assignments: Mapping[str, AssignmentRecord],
    statuses: Mapping[str, StatusRecord],
    workers: Iterable[WorkerInfo],
) -> list[TaskInfo]:
    """All tasks that anybody was ever told to own or keeps a copy of, in their order; of workers
    that have gone those that mean the same to the ones that have tasks now."""
    shapes = {record.shape for record in assignments.values() if not record.ended} - {""}
    alive = {each.worker for each in workers if each.is_alive}
    expected: dict[str, str] = {}
    for worker, record in assignments.items():
        is_former = record.ended and record.shape and shapes and record.shape not in shapes
        for task in () if is_former else record.tasks:
            if not record.ended or task not in expected:
                expected[task] = worker if not record.ended else ""
    owners = {
        task: (worker, report)
        for worker, status in statuses.items()
        if worker in alive
        for task, report in status.tasks.items()
    }
    copies = _copies_of({worker: statuses[worker] for worker in alive & statuses.keys()})
    infos = []
    for task in _in_order(expected.keys() | owners.keys() | copies.keys()):
        to = expected.get(task, "")
        owner, report = owners.get(task, ("", _WAITING))
        infos.append(
            TaskInfo(
                task=task,
                worker=owner or to,
                state=report.state if owner else "waiting",
                lag_records=report.lag_records if report.state == "running" else None,
                restore_left_records=report.restore_left_records if owner else None,
                positions=report.positions,
                is_moving=bool(owner) and owner != to,
                standbys=copies.get(task, {}),
            )
        )
    return infos


def shadows_of(statuses: Mapping[str, StatusRecord]) -> list[ShadowInfo]:
    """What these workers keep for a layout that is to follow, by task and worker."""
    found = [
        ShadowInfo(
            task=task,
            worker=worker,
            state=report.state,
            lag_records=_lag_of(report),
            is_current=report.is_current,
            bytes=report.bytes,
            operation=status.shadows_of,
        )
        for worker, status in statuses.items()
        for task, report in status.shadows.items()
    ]
    return sorted(found, key=lambda one: (TaskId.parse(one.task), one.worker))


def _lag_of(report: StandbyReport) -> int | None:
    is_known = report.state == "standby" and report.lag_records >= 0
    return report.lag_records if is_known else None


def _copies_of(statuses: Mapping[str, StatusRecord]) -> dict[str, dict[str, int | None]]:
    """By task and then by worker, how far each copy is behind."""
    copies: dict[str, dict[str, int | None]] = {}
    for worker in sorted(statuses):
        for task, report in statuses[worker].standbys.items():
            copies.setdefault(task, {})[worker] = _lag_of(report)
    return copies


def lags_of(
    tasks: Iterable[TaskInfo],
    statuses: Iterable[StatusRecord],
    behind: Mapping[TopicPartition, int],
    *,
    layout: ApplicationLayout | None = None,
) -> dict[str, int | None]:
    """How far each task is behind: as its owner says, else by what its group has yet to read in
    each partition. None where nothing tells which partitions it reads, or nothing was committed.
    Without a layout there is a task for each partition."""
    infos = list(tasks)
    read = {
        task: places
        for status in statuses
        for task, report in status.tasks.items()
        if (places := frozenset(report.positions))
    }
    is_only_one = len({TaskId.parse(each.task).subtopology for each in infos}) == 1
    lags: dict[str, int | None] = {}
    for each in infos:
        number, count = _place_of(TaskId.parse(each.task), layout)
        found = [
            records
            for place, records in behind.items()
            if str(place) in read.get(each.task, ())
            or (is_only_one and each.task not in read and _task_of(place, count) == number)
        ]
        unread = sum(found) if found else None
        lags[each.task] = unread if each.lag_records is None else each.lag_records
    return lags


def _place_of(task: TaskId, layout: ApplicationLayout | None) -> tuple[int, int]:
    """Its number, and among how many; 0 where that is not recorded."""
    return task.partition, layout.task_count(task.subtopology) if layout else 0


def _task_of(place: TopicPartition, count: int) -> int:
    return place.partition % count if count else place.partition


def _lag_said(status: StatusRecord | None) -> int | None:
    reports = status.tasks.values() if status else ()
    if any(each.state != "running" for each in reports):
        return None
    return sum(each.lag_records for each in reports)


def _granted(record: AssignmentRecord | None) -> AssignmentRecord | None:
    return None if record is None or record.ended else record


def _in_order(tasks: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(tasks, key=TaskId.parse))
