"""Copies that this worker keeps of tasks of others: open databases that follow their changelogs.

A copy reads, and writes to nothing but its own disk, so it may stay open while the worker is fenced
and joins again. To be promoted it is handed over with its database open. One that fails is told to
the controller, and stays as it is for somebody to look at.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamer import failpoints, metrics
from streamer.changelog.format import Positions
from streamer.control.messages import ChoreReport, StandbyReport
from streamer.errors import StateOutdatedError, StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.log import task_context
from streamer.restore import Restorer
from streamer.store.directory import WorkerDirectory
from streamer.store.rocks import TaskDatabase

__all__ = ["Standby", "Standbys"]

_log = logging.getLogger(__name__)

_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Standby:
    """One copy. `stored` is what its database held when it was opened: its times have been reached,
    and maybe later ones."""

    task: TaskId
    database: TaskDatabase
    stored: Positions


class Rescuer(Protocol):
    """What makes copies from snapshots, where that is sooner or nothing else is left."""

    def opened(self, task: TaskId, directory: Path) -> None: ...

    def rescues(self, task: TaskId, error: StreamerError) -> bool:
        """Whether a copy that has ended with this stays open, to be made anew."""

    def forget(self, task: TaskId) -> None: ...

    def chore(self, task: TaskId) -> ChoreReport | None: ...


class _Nobody:
    """Does nothing of it."""

    def opened(self, task: TaskId, directory: Path) -> None:
        pass

    def rescues(self, task: TaskId, error: StreamerError) -> bool:
        return False

    def forget(self, task: TaskId) -> None:
        pass

    def chore(self, task: TaskId) -> ChoreReport | None:
        return None


class Standbys:
    """Changed by the main thread alone; `all` may be read by any. `opening` opens a database."""

    def __init__(
        self,
        opening: Callable[[TaskId], TaskDatabase],
        changelogs: Callable[[TaskId], Mapping[str, TopicPartition]],
        *,
        directory: WorkerDirectory,
        restorer: Restorer,
    ) -> None:
        self._opening = opening
        self._changelogs = changelogs
        self._directory = directory
        self._restorer = restorer
        self.bootstrapping: Rescuer = _Nobody()
        self._standbys: dict[TaskId, Standby] = {}
        self._failed: dict[TaskId, StreamerError] = {}
        self._left: dict[TaskId, dict[str, int]] = {}
        self._warm: frozenset[TaskId] = frozenset()
        self._looked_s = 0.0

    @property
    def tasks(self) -> frozenset[TaskId]:
        return frozenset(self._standbys) | frozenset(self._failed)

    @property
    def all(self) -> list[Standby]:
        return list(self._standbys.values())

    @property
    def failures(self) -> dict[TaskId, StreamerError]:
        """Why copies have stopped."""
        return self._failed.copy()

    def keep(self, wanted: frozenset[TaskId]) -> bool:
        """Open the next of these copies that is not there: opening one takes a moment, and they can
        wait. Returns whether there was one."""
        missing = wanted - self.tasks
        if missing:
            self.open(min(missing))
        return bool(missing)

    def open(self, task: TaskId) -> None:
        """Open a copy and begin to follow. A failure is the copy's own."""
        with task_context(task):
            failpoints.hit("standby.before_open")
            try:
                database = self._opening(task)
            except StreamerError as error:
                self.fail(task, error)
                return
            try:
                stored = Positions.decode(database.metadata())
            except StreamerError as error:
                database.close()
                self.fail(task, error)
                return
            self._standbys[task] = Standby(task, database, stored)
            metrics.set_task_state(task, "standby")
            self._restorer.follow(task, database, self._changelogs(task))
            self.bootstrapping.opened(task, database.directory)
            _log.info("task %s: keeping a copy", task)

    def take(self, task: TaskId) -> Standby | None:
        """Hand a copy over, to be promoted: it goes on following until its new user ends that."""
        self._failed.pop(task, None)
        self._left.pop(task, None)
        standby = self._standbys.pop(task, None)
        if standby is not None:
            metrics.standby_lag_records.remove_by_labels({"task": str(task)})
        return standby

    def close(self, tasks: Iterable[TaskId]) -> None:
        """Give copies up; what they have stays on the disk."""
        given = list(tasks)
        for task in given:
            self._failed.pop(task, None)
            self._left.pop(task, None)
            self.bootstrapping.forget(task)
        closing = [self._standbys.pop(task) for task in given if task in self._standbys]
        if not closing:
            return
        failpoints.hit("standby.before_close")
        # All at once: each would wait for the batch in hand.
        self._restorer.cancel(*(standby.task for standby in closing))
        for standby in closing:
            standby.database.close()
            metrics.forget_task(standby.task)
            _log.info("task %s: the copy is closed", standby.task)

    def ended(self, task: TaskId, error: StreamerError | None) -> None:
        """A copy has stopped following, which it does by itself only when something is wrong."""
        standby = self._standbys.get(task)
        if standby is None or error is None or self.bootstrapping.rescues(task, error):
            return
        left = self._restorer.durable(task)
        self.close([task])
        if isinstance(error, StateOutdatedError):
            self.begin_anew(task, error)
        else:
            self.fail(task, error)
            # Its disk has that, and needs what comes after it when it is mended.
            self._left[task] = left

    def begin_anew(self, task: TaskId, error: StateOutdatedError) -> None:
        """Put the state of a copy that is closed aside, and open the copy on an empty disk."""
        try:
            aside = self._directory.put_aside(task, time.time_ns() // 1_000_000)
        except StreamerError as refused:
            self.fail(task, refused)
            return
        _log.warning(
            "%s. The copy is made anew from the changelogs; the old state was moved to %s, is not"
            " read again, and can be deleted",
            error,
            aside,
        )
        self.open(task)

    def fail(self, task: TaskId, error: StreamerError) -> None:
        """A copy that is closed is of no use; it is told, and stays as it is."""
        _log.error("task %s: the copy has stopped: %s", task, error.describe())
        self._failed[task] = error
        metrics.set_task_state(task, "failed")

    def reports(self) -> dict[TaskId, StandbyReport]:
        """The status of every copy, for the cluster."""
        metrics.assigned_standbys.set(len(self.tasks))
        reports = {
            task: StandbyReport(
                state="failed",
                lag_records=-1,
                durable=self._left.get(task, {}),
                chore=self.bootstrapping.chore(task),
            )
            for task in self._failed
        }
        for task, standby in self._standbys.items():
            lag = self._restorer.lag(task)
            if lag is not None:
                metrics.standby_lag_records.labels(str(task)).set(lag)
            reports[task] = StandbyReport(
                lag_records=-1 if lag is None else lag,
                is_current=self._restorer.is_current(task),
                bytes=standby.database.size_bytes(),
                durable=self._restorer.durable(task),
                chore=self.bootstrapping.chore(task),
            )
        return reports

    def has_warmed(self, lag_max: int) -> bool:
        """Whether other copies than at the last call could take over now: that is waited for."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return False
        warm = frozenset(task for task in self._standbys if self._is_warm(task, lag_max))
        is_other, self._warm, self._looked_s = warm != self._warm, warm, now_s
        return is_other

    def _is_warm(self, task: TaskId, lag_max: int) -> bool:
        lag = self._restorer.lag(task)
        return lag is not None and (lag <= lag_max or self._restorer.is_current(task))
