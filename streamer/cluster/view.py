"""What the controller knows of one worker, and which tasks each of its incarnations may own.

The rule that keeps a task with one owner: an incarnation may own what its last assignment names,
`releasing` included, until it is *retired*: it said that it left, a later incarnation of its own
process spoke, or the transactional id was initialised anew after it was heard of. A status takes
away from that only once it has seen the assignment that took the task away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streamer.assignment.facts import Load
from streamer.control.identity import Incarnation
from streamer.control.messages import AssignmentRecord, StandbyReport, StatusRecord, task_ids
from streamer.ids import TaskId

__all__ = ["Grant", "Report", "WorkerView"]

Tasks = frozenset[TaskId]
_RESTORED = ("running", "failed")


@dataclass(frozen=True, slots=True)
class Grant:
    """An assignment record with its names parsed."""

    record: AssignmentRecord
    incarnation: Incarnation
    tasks: Tasks
    releasing: Tasks
    standbys: Tasks

    @classmethod
    def of(cls, record: AssignmentRecord) -> Grant:
        return cls(
            record,
            Incarnation.parse(record.incarnation),
            task_ids(record.tasks),
            task_ids(record.releasing),
            task_ids(record.standbys),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What matters of a status record. `lags` are of the copies that it keeps; -1 where that is
    not known, or the copy has failed."""

    record: StatusRecord
    tasks: Tasks
    running: Tasks
    lags: dict[TaskId, int]
    loads: dict[TaskId, Load]

    @classmethod
    def of(cls, record: StatusRecord) -> Report:
        lags = {TaskId.parse(name): _lag(one) for name, one in record.standbys.items()}
        said = {TaskId.parse(name): one for name, one in record.tasks.items()}
        running = frozenset(
            task for task, one in said.items() if one.state in ("running", "failed")
        )
        loads = {task: Load(one.bytes, one.rate) for task, one in said.items()}
        return cls(record, frozenset(said), running, lags, loads)

    def warm(self, lag_max: int) -> set[TaskId]:
        return {task for task, lag in self.lags.items() if 0 <= lag <= lag_max}

    def says_the_same_as(self, other: Report | None, lag_max: int) -> bool:
        """Nothing that the controller acts on at once is different."""
        if other is None:
            return False
        one, two = self.record, other.record
        return (
            (one.seen, one.left, one.zone, one.host, one.capacity)
            == (two.seen, two.left, two.zone, two.host, two.capacity)
            and (one.paused, one.resumed) == (two.paused, two.resumed)
            and (self.tasks, self.running) == (other.tasks, other.running)
            and self.lags.keys() == other.lags.keys()
            and self.warm(lag_max) == other.warm(lag_max)
        )


def _lag(report: StandbyReport) -> int:
    """Beside a busy owner the open transaction alone may be more than a copy may lack."""
    if report.state != "standby":
        return -1
    return 0 if report.is_current else report.lag_records


@dataclass(slots=True)
class WorkerView:
    """One worker id: its last assignment and every incarnation that has spoken."""

    grant: Grant | None = None
    reports: dict[Incarnation, Report] = field(default_factory=dict)
    retired: set[Incarnation] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    """Sessions that said good-bye; they may be taken for alive for a moment."""
    fenced: dict[str, Incarnation] = field(default_factory=dict)
    """The last incarnation of each session that was fenced from outside."""
    heard: StatusRecord | None = None
    """The last word of any of them in the log, which also tells where the worker is."""

    @property
    def holder(self) -> Incarnation | None:
        """The incarnation that owns what the assignment names, while it is not retired."""
        grant = self.grant
        return None if grant is None or grant.incarnation in self.retired else grant.incarnation

    @property
    def last_ms(self) -> int:
        """When the worker last spoke or was spoken to, by the wall clocks of those who did."""
        heard_ms = self.heard.at_ms if self.heard else 0
        return max(heard_ms, self.grant.record.at_ms if self.grant else 0)

    def take(self, record: AssignmentRecord) -> None:
        """The last assignment of this worker: read from the log, or asked for just now."""
        self.grant = Grant.of(record)
        if record.ended:
            self.retire((self.grant.incarnation,))

    def hear(self, record: StatusRecord, lag_max: int = 0) -> bool:
        """Take in a status. Returns whether it changes who may own what, or which copies are warm:
        those that have no more than `lag_max` offsets to read."""
        incarnation = Incarnation.parse(record.incarnation)
        report = Report.of(record)
        is_news = bool(record.follows) and self._is_over(record.follows)
        if self._is_last_word(incarnation, record):
            self.heard = record
        if record.left:
            self.left.add(incarnation.session)
        known = self.reports.get(incarnation)
        if incarnation in self.retired or (
            known is not None and record.number <= known.record.number
        ):
            return is_news
        kin = [one for one in self.known() if one.session == incarnation.session]
        is_over = record.left or self._was_replaced(incarnation, record)
        if is_over or any(one.number > incarnation.number for one in kin):
            self.retire((incarnation,))
            return True
        self.retire(one for one in kin if one.number < incarnation.number)
        self.reports[incarnation] = report
        return is_news or not report.says_the_same_as(known, lag_max)

    def _is_over(self, session: str) -> bool:
        """Its process has begun anew, with a producer that was made since. Returns whether that is
        news."""
        ended = [one for one in self.known() if one.session == session]
        self.left.add(session)
        self.retire(ended)
        return bool(ended)

    def _is_last_word(self, incarnation: Incarnation, record: StatusRecord) -> bool:
        """By the order of the log, in which records come: clocks may be set back. A session counts
        its own, and what a retired one says after its successor tells of nobody who is there."""
        if self.heard is None:
            return True
        last = Incarnation.parse(self.heard.incarnation)
        if last.session == incarnation.session:
            return record.number >= self.heard.number
        return incarnation not in self.retired or last in self.retired

    def _was_replaced(self, incarnation: Incarnation, record: StatusRecord) -> bool:
        """It once held a grant, and the grant names another now: that is written only after the
        earlier holder was retired, whoever was the controller then."""
        grant = self.grant
        return (
            grant is not None
            and grant.incarnation != incarnation
            and 0 < record.seen < grant.record.version
        )

    def retire(self, incarnations: Iterable[Incarnation]) -> None:
        """These own nothing any more and never will."""
        for incarnation in tuple(incarnations):
            self.retired.add(incarnation)
            self.reports.pop(incarnation, None)

    def fence(self, incarnations: Iterable[Incarnation]) -> None:
        """The transactional id was made anew after these had made theirs."""
        for incarnation in incarnations:
            self.retire((incarnation,))
            last = self.fenced.get(incarnation.session, incarnation)
            self.fenced[incarnation.session] = max(last, incarnation)

    def silenced(self) -> set[Incarnation]:
        """The last ones of sessions that were fenced and have not come back since."""
        back = {one.session for one in self.known()}
        return {one for session, one in self.fenced.items() if session not in back}

    def known(self) -> set[Incarnation]:
        """Incarnations that were heard of and are not retired."""
        holder = self.holder
        return set(self.reports) if holder is None else {holder, *self.reports}

    def possible(self, incarnation: Incarnation) -> Tasks:
        """All tasks that this incarnation may own at this moment."""
        if incarnation in self.retired:
            return frozenset()
        report = self.reports.get(incarnation)
        said: Tasks = report.tasks if report else frozenset()
        if self.grant is None or incarnation != self.holder:
            return said
        if report is not None and report.record.seen >= self.grant.record.version:
            return self.grant.tasks | said
        return self.grant.tasks | self.grant.releasing | said

    def shape(self, incarnation: Incarnation) -> str:
        """The digest of its topology, as it says itself or as it was granted; "" if unknown."""
        report = self.reports.get(incarnation)
        if report is not None and report.record.shape:
            return report.record.shape
        return self.grant.record.shape if self.grant and incarnation == self.holder else ""

    def owners(self) -> set[Incarnation]:
        """Incarnations that may own something, or may be given something by their assignment."""
        return {one for one in self.known() if one == self.holder or self.possible(one)}
