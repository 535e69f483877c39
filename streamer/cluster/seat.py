"""The worker's side without I/O: its incarnation, what it shall own, what it says of itself.

        rejoin()                     ended record             rejoin()
    ---------------> waiting ---> desired ------> fenced ---------------> waiting (next number)
                        |            |
                        +------------+--> left (for good)   or   failed: another process took over

Records for other incarnations are ignored, except that they tell a process that it was replaced.
A record of another topology refuses this process: it may not run beside those who have that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamer.control.identity import Incarnation
from streamer.control.messages import (
    FORMAT,
    AssignmentRecord,
    ChoreReport,
    StandbyReport,
    StatusRecord,
    TaskReport,
    task_ids,
)
from streamer.errors import FencedError, StreamerError
from streamer.ids import TaskId
from streamer.topology.shape import Shape

__all__ = ["NO_SHADOWS", "Desired", "Seat", "Shadowed"]


@dataclass(frozen=True, slots=True)
class Desired:
    """The tasks that the worker shall own, and those that it shall keep a copy of, all of them; a
    newer version replaces an older one. While `paused` has a number it must not process, for
    `pause_ms` at most."""

    version: int
    tasks: frozenset[TaskId]
    standbys: frozenset[TaskId] = frozenset()
    paused: str = ""
    pause_ms: int = 0


@dataclass(frozen=True, slots=True)
class Shadowed:
    """The copies that the worker keeps of tasks of the layout that is to follow, as `operation` has
    ordered it; "" where none is ordered."""

    operation: str = ""
    reports: Mapping[TaskId, StandbyReport] = field(default_factory=dict)


NO_SHADOWS = Shadowed()


@dataclass(slots=True)
class Seat:
    """One process of a worker. `address` is where it answers queries; a copy that has no more than
    `warm_lag_max` offsets to read is warm, and becoming so is news. `follows` is the session that
    this process had before."""

    worker: str
    incarnation: Incarnation
    shape: Shape = field(default_factory=Shape)
    zone: str = ""
    host: str = ""
    capacity: int = 100
    address: str = ""
    warm_lag_max: int = 0
    follows: str = ""
    desired: Desired | None = None
    is_fenced: bool = False
    is_handed_over: bool = False
    has_left: bool = False
    failure: StreamerError | None = None
    _heard: int = 0
    _seen: int = 0
    _tasks: dict[str, TaskReport] = field(default_factory=dict)
    _standbys: dict[str, StandbyReport] = field(default_factory=dict)
    _shadows: dict[str, StandbyReport] = field(default_factory=dict)
    _shadows_of: str = ""
    _former: dict[str, int] = field(default_factory=dict)
    _pause: tuple[str, str] = ("", "")
    _number: int = 0
    _was_seated: bool = False
    _is_changed: bool = True
    _said_ms: int | None = None

    @property
    def is_empty(self) -> bool:
        """Every task was reported closed."""
        return not self._tasks

    def hear(self, record: AssignmentRecord) -> None:
        """An assignment of this worker id was read. Reading the log again does no harm."""
        if record.version <= self._heard:
            return
        self._heard = record.version
        incarnation = Incarnation.parse(record.incarnation)
        session = self.incarnation.session
        if session in record.refused or (self._was_seated and incarnation.session != session):
            self._fail(record)
        if incarnation.session != session:
            return
        if self.shape.differs(record.shape):
            self.failure = self.shape.refusal(record.topology)
            return
        self._was_seated = True
        if incarnation != self.incarnation:
            return
        if record.ended:
            self.is_fenced = not self.has_left
            self.is_handed_over = True
        else:
            tasks, standbys = task_ids(record.tasks), task_ids(record.standbys)
            self.desired = Desired(record.version, tasks, standbys, record.paused, record.pause_ms)

    def report(
        self,
        seen: int,
        tasks: Mapping[TaskId, TaskReport],
        standbys: Mapping[TaskId, StandbyReport] | None = None,
        *,
        pause: tuple[str, str] = ("", ""),
        shadows: Shadowed = NO_SHADOWS,
        former: Mapping[str, int] | None = None,
    ) -> bool:
        """What the worker owns now, its copies and its shadows; which pause it keeps, with all
        committed that it had processed, and which one it ended; the bytes of `former` state, by
        directory. Returns whether that must be published at once.

        A `seen` that was never handed out to this incarnation counts as nothing seen.
        """
        newest = self.desired.version if self.desired else 0
        seen = seen if seen <= newest else 0
        named = {str(task): tasks[task] for task in sorted(tasks)}
        copies = {str(task): one for task, one in sorted((standbys or {}).items())}
        shaded = {str(task): one for task, one in sorted(shadows.reports.items())}
        left = dict(sorted((former or {}).items()))
        is_news = (
            (seen, pause, shadows.operation) != (self._seen, self._pause, self._shadows_of)
            or left != self._former
            or _states(named) != _states(self._tasks)
            or self._conditions(copies) != self._conditions(self._standbys)
            or self._conditions(shaded) != self._conditions(self._shadows)
        )
        self._seen, self._tasks, self._standbys = seen, named, copies
        self._shadows, self._shadows_of = shaded, shadows.operation
        self._former = left
        self._pause = pause
        self._is_changed = self._is_changed or is_news
        return is_news

    def status(self, now_ms: int, *, interval_ms: int, wall_ms: int) -> StatusRecord | None:
        """The record to publish now, or None when nothing changed and it is not yet time. One that
        could not be written is to be taken back: `unsaid`."""
        is_due = self._said_ms is None or now_ms - self._said_ms >= interval_ms
        if not (self._is_changed or is_due):
            return None
        self._is_changed, self._said_ms = False, now_ms
        self._number += 1
        return StatusRecord(
            format=FORMAT,
            number=self._number,
            worker=self.worker,
            incarnation=str(self.incarnation),
            seen=self._seen,
            tasks=self._tasks,
            standbys=self._standbys,
            shadows=self._shadows,
            shadows_of=self._shadows_of,
            former=self._former,
            left=self.has_left,
            shape=self.shape.digest,
            zone=self.zone,
            host=self.host,
            capacity=self.capacity,
            address=self.address,
            paused=self._pause[0],
            resumed=self._pause[1],
            follows=self.follows,
            at_ms=wall_ms,
        )

    def unsaid(self) -> None:
        """The last record was not written: what it told is news still."""
        self._is_changed = True

    def rejoin(self) -> None:
        """A new life, after everything was dropped and the producer was made anew."""
        self.incarnation = self.incarnation.next()
        self.desired, self.is_fenced = None, False
        self._seen, self._tasks, self._standbys = 0, {}, {}
        self._shadows, self._shadows_of = {}, ""
        self._pause = "", ""
        self._is_changed = True

    def leave(self) -> None:
        """The last word: nothing is owned any more and nothing will be."""
        self.has_left = True
        self._seen, self._tasks, self._standbys = 0, {}, {}
        self._shadows, self._shadows_of = {}, ""
        self._is_changed = True

    def _conditions(self, standbys: Mapping[str, StandbyReport]) -> dict[str, tuple[object, ...]]:
        """The same of each copy, and whether it is warm."""
        return {
            task: (
                one.state,
                one.is_current or 0 <= one.lag_records <= self.warm_lag_max,
                _asked(one.chore),
            )
            for task, one in standbys.items()
        }

    def _fail(self, record: AssignmentRecord) -> None:
        self.failure = FencedError(
            f"another process has taken over the worker id {self.worker!r}"
            f" (session {Incarnation.parse(record.incarnation).session},"
            f" this one is {self.incarnation.session})",
            hint="give every worker its own worker_id and state directory",
        )


def _states(tasks: Mapping[str, TaskReport]) -> dict[str, tuple[object, ...]]:
    """What others wait for: the state of each task, and of what it was asked to do."""
    return {task: (report.state, _asked(report.chore)) for task, report in tasks.items()}


def _asked(chore: ChoreReport | None) -> tuple[str, str] | None:
    return (chore.operation, chore.state) if chore else None
