"""The workers and tasks of an application, summed up: by zone for a fleet, one by one below that.

Pure. A fleet has 1,200 workers and 12,000 tasks, so nobody is sent the whole: zones tell sums and
one letter for each worker, a zone its workers with one letter for each task, a worker its tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from streamer.config.cluster import zone_tags
from streamer.control.messages import StandbyReport, StatusRecord, TaskReport
from streamer.control.view import TaskInfo, WorkerInfo, tasks_of
from streamer.overview.seen import Seen

__all__ = ["Fleet", "TaskRow", "Totals", "WorkerRow", "ZoneRow"]

# What fits beside each other: of more zones than these the narrowest tag is left out.
ZONES_MAX = 24
# So many workers are shown one by one at once.
WORKERS_SHOWN_MAX = 48
WORKERS_PAGE = 100

_ROLES = {"running": "A", "restoring": "R", "closing": "C", "failed": "F"}
_COPY, _WARMING, _FAILED_COPY = "s", "w", "f"
# The worst first: by it a worker has its letter and its place in a list.
_WORST = "xfrwoi"


class Totals(Struct, kw_only=True, omit_defaults=True):
    """Sums. `bare` counts tasks that no copy elsewhere could take over without restoring, `unknown`
    those whose lag nobody tells. Bytes are what states take on disks."""

    workers: int = 0
    alive: int = 0
    capacity: int = 0
    tasks: int = 0
    running: int = 0
    restoring: int = 0
    closing: int = 0
    failed: int = 0
    waiting: int = 0
    moving: int = 0
    standby: int = 0
    warming: int = 0
    failed_copies: int = 0
    bare: int = 0
    lag_records: int = 0
    unknown: int = 0
    restore_left_records: int = 0
    active_bytes: int = 0
    copy_bytes: int = 0
    rate: int = 0


class ZoneRow(Struct, kw_only=True):
    """One zone. `letters` has one for each of its workers, in the order of their names: x is gone,
    f has a failed task or copy, r restores, w builds copies, o is well, i has nothing."""

    zone: str
    totals: Totals
    letters: str


class WorkerRow(Struct, kw_only=True, omit_defaults=True):
    """One worker. `cells` has a letter for each of its tasks and copies: A runs, R is restored,
    C is being closed, F has failed; s is a standby, w is warming, f has failed. `names` are theirs
    where they are few."""

    worker: str
    zone: str
    host: str = ""
    address: str = ""
    letter: str
    is_controller: bool = False
    totals: Totals
    cells: str = ""
    names: tuple[str, ...] = ()
    idle: str = ""
    heard_ms: int = 0


class TaskRow(Struct, kw_only=True, omit_defaults=True):
    """One copy of a task. Of an active `lag_records` is what it has yet to read of its input, of a
    copy what it has yet to read of its changelogs; -1 where that is not known."""

    task: str
    worker: str = ""
    zone: str = ""
    role: str
    lag_records: int = -1
    restore_left_records: int = 0
    bytes: int = 0
    rate: int = 0
    is_moving: bool = False
    chore: str = ""
    """What became of an order to make or fetch a snapshot."""


@dataclass(frozen=True)
class Fleet:
    """All that is seen of workers and tasks. Sums are made when they are first asked for."""

    seen: Seen

    @cached_property
    def workers(self) -> dict[str, WorkerInfo]:
        """By name, without those that have left in order."""
        left = {name for name, status in self.seen.statuses.items() if status.left}
        return {each.worker: each for each in self.seen.workers if each.worker not in left}

    @cached_property
    def tasks(self) -> list[TaskInfo]:
        return tasks_of(self.seen.assignments or {}, self.seen.statuses, self.seen.workers)

    @cached_property
    def bare(self) -> set[str]:
        """Tasks that would be restored if their worker died now."""
        limit = self.seen.warm_lag
        return {
            each.task
            for each in self.tasks
            if not any(lag is not None and lag <= limit for lag in each.standbys.values())
        }

    @cached_property
    def missing(self) -> list[TaskInfo]:
        """Tasks that nobody who lives runs or opens; none while assignments are not known."""
        if self.seen.assignments is None:
            return []
        return [each for each in self.tasks if each.state == "waiting"]

    @cached_property
    def moving(self) -> list[TaskInfo]:
        """Tasks that another worker than their owner is to have; none while that is not known."""
        if self.seen.assignments is None:
            return []
        return [each for each in self.tasks if each.is_moving]

    @cached_property
    def rows(self) -> dict[str, WorkerRow]:
        return {name: self._row(each) for name, each in self.workers.items()}

    @cached_property
    def totals(self) -> Totals:
        total = _sum(row.totals for row in self.rows.values())
        total.tasks = len(self.tasks)
        total.waiting = len(self.missing)
        total.bare = len(self.bare)
        total.moving = len(self.moving)
        return total

    # -- zones ---------------------------------------------------------------------------------

    def zones(self, within: str = "") -> list[ZoneRow]:
        """The zones inside of one, or all: by as many tags as keep them few enough to be shown."""
        rows = [row for row in self.rows.values() if is_within(row.zone, within)]
        depth = _depth([row.zone for row in rows], above=len(zone_tags(within)))
        grouped: dict[str, list[WorkerRow]] = {}
        for row in rows:
            grouped.setdefault(_cut(row.zone, depth), []).append(row)
        return [
            ZoneRow(
                zone=zone,
                totals=_sum(row.totals for row in found),
                letters="".join(row.letter for row in found),
            )
            for zone, found in sorted(grouped.items())
        ]

    def page(
        self, within: str = "", *, skip: int = 0, count: int = WORKERS_PAGE
    ) -> list[WorkerRow]:
        """Workers of a zone, those in trouble first; the names of tasks where they are few."""
        rows = [row for row in self.rows.values() if is_within(row.zone, within)]
        rows.sort(key=lambda row: (_WORST.index(row.letter), row.worker))
        shown = rows[skip : skip + count]
        if len(self.rows) > WORKERS_SHOWN_MAX:
            return shown
        return [self._named(row) for row in sorted(shown, key=lambda row: (row.zone, row.worker))]

    def _named(self, row: WorkerRow) -> WorkerRow:
        status = self.seen.statuses.get(row.worker)
        if status is None or not row.cells:
            return row
        pairs = zip((*status.tasks, *status.standbys), row.cells, strict=True)
        ordered = sorted(pairs, key=lambda pair: _task_key(pair[0]))
        return replace(
            row,
            names=tuple(name for name, _cell in ordered),
            cells="".join(cell for _name, cell in ordered),
        )

    # -- one by one ----------------------------------------------------------------------------

    def of_worker(self, worker: str) -> list[TaskRow]:
        """Everything that a worker says to have."""
        status = self.seen.statuses.get(worker)
        if status is None or worker not in self.workers:
            return []
        moving = {each.task for each in self.moving if each.worker == worker}
        found = [
            self._active(status, name, report, is_moving=name in moving)
            for name, report in status.tasks.items()
        ]
        found += [self._copy(status, name, report) for name, report in status.standbys.items()]
        return sorted(found, key=lambda row: _task_key(row.task))

    def of_task(self, task: str) -> list[TaskRow]:
        """All copies of a task: the active first."""
        found = []
        for name in self.workers:
            status = self.seen.statuses.get(name)
            if status is None or not self.workers[name].is_alive:
                continue
            if report := status.tasks.get(task):
                found.append(self._active(status, task, report, is_moving=False))
            if copy := status.standbys.get(task):
                found.append(self._copy(status, task, copy))
        return sorted(found, key=lambda row: (row.role in ("standby", "warming"), row.worker))

    def slowest(self, count: int) -> list[TaskRow]:
        """The tasks that are furthest behind their input."""
        behind = [each for each in self.tasks if (each.lag_records or 0) > 0]
        behind.sort(key=lambda each: (-(each.lag_records or 0), each.task))
        return [
            TaskRow(
                task=each.task,
                worker=each.worker,
                zone=self._zone(each.worker),
                role=each.state,
                lag_records=each.lag_records or 0,
            )
            for each in behind[:count]
        ]

    def _active(
        self, status: StatusRecord, task: str, report: TaskReport, *, is_moving: bool
    ) -> TaskRow:
        return TaskRow(
            task=task,
            worker=status.worker,
            zone=status.zone,
            role=report.state,
            lag_records=report.lag_records if report.state == "running" else -1,
            restore_left_records=report.restore_left_records,
            bytes=report.bytes,
            rate=report.rate,
            is_moving=is_moving,
            chore=_chore(report),
        )

    def _copy(self, status: StatusRecord, task: str, report: StandbyReport) -> TaskRow:
        role = {_COPY: "standby", _WARMING: "warming", _FAILED_COPY: "failed copy"}
        return TaskRow(
            task=task,
            worker=status.worker,
            zone=status.zone,
            role=role[self._cell(report)],
            lag_records=report.lag_records,
            bytes=report.bytes,
            chore=_chore(report),
        )

    def _cell(self, report: StandbyReport) -> str:
        if report.state == "failed":
            return _FAILED_COPY
        is_warm = report.is_current or 0 <= report.lag_records <= self.seen.warm_lag
        return _COPY if is_warm else _WARMING

    def _zone(self, worker: str) -> str:
        return self.workers[worker].zone if worker in self.workers else ""

    def _row(self, info: WorkerInfo) -> WorkerRow:
        status = self.seen.statuses.get(info.worker)
        totals = Totals(workers=1, alive=int(info.is_alive))
        cells = ""
        if status is not None and info.is_alive:
            actives = [_ROLES[report.state] for report in status.tasks.values()]
            copies = [self._cell(report) for report in status.standbys.values()]
            cells = "".join(actives + copies)
            _add(totals, status, Counter(cells), bare=self.bare)
        plan = self.seen.plan
        return WorkerRow(
            worker=info.worker,
            zone=_cut(info.zone),
            host=info.host,
            address=info.address,
            letter=_letter(info, cells),
            is_controller=info.is_controller,
            totals=totals,
            cells=cells,
            idle=plan.idle.get(info.worker, "") if plan else "",
            heard_ms=status.at_ms if status else 0,
        )


def is_within(zone: str, within: str) -> bool:
    """Whether a zone is, or lies in, another one."""
    return not within or zone == within or zone.startswith(f"{within},")


def _add(totals: Totals, status: StatusRecord, cells: Counter[str], *, bare: set[str]) -> None:
    totals.capacity = status.capacity
    totals.tasks = len(status.tasks)
    totals.running, totals.restoring = cells["A"], cells["R"]
    totals.closing, totals.failed = cells["C"], cells["F"]
    totals.standby, totals.warming = cells[_COPY], cells[_WARMING]
    totals.failed_copies = cells[_FAILED_COPY]
    totals.bare = sum(name in bare for name in status.tasks)
    for report in status.tasks.values():
        totals.active_bytes += report.bytes
        totals.rate += report.rate
        totals.restore_left_records += report.restore_left_records
        is_known = report.state == "running" and report.lag_records >= 0
        totals.lag_records += report.lag_records if is_known else 0
        totals.unknown += not is_known
    totals.copy_bytes = sum(report.bytes for report in status.standbys.values())


def _sum(parts: Iterable[Totals]) -> Totals:
    total = Totals()
    for part in parts:
        for name in Totals.__struct_fields__:
            setattr(total, name, getattr(total, name) + getattr(part, name))
    return total


def _letter(info: WorkerInfo, cells: str) -> str:
    if not info.is_alive:
        return "x"
    for letter, told in (("f", "Ff"), ("r", "R"), ("w", "w")):
        if any(cell in cells for cell in told):
            return letter
    return "o" if cells else "i"


def _depth(zones: Sequence[str], *, above: int) -> int:
    """How many tags are looked at: all, or fewer where there would be too many zones; but always
    one more than those that all have in common, if there is one."""
    deepest = max((len(zone_tags(zone)) for zone in zones), default=0)
    for depth in range(deepest, above + 1, -1):
        if len({_cut(zone, depth) for zone in zones}) <= ZONES_MAX:
            return depth
    return above + 1


def _cut(zone: str, depth: int | None = None) -> str:
    """A zone as it is written everywhere, by so many of its tags."""
    return ",".join(f"{name}={value}" for name, value in zone_tags(zone)[:depth])


def _chore(report: TaskReport | StandbyReport) -> str:
    chore = report.chore
    if chore is None:
        return ""
    said = chore.why or chore.phase
    return f"{chore.operation}: {chore.state}" + (f", {said}" if said else "")


def _task_key(task: str) -> tuple[int, ...]:
    return tuple(map(int, task.split("_")))
