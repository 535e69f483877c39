"""What becomes of one task's database while it is a copy or is being restored.

It is the only place where a directory of state changes its name while the worker runs; nothing is
deleted here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from streamer.errors import StateOutdatedError, StreamerError
from streamer.ids import TaskId
from streamer.restore import Restorer
from streamer.store.directory import WorkerDirectory
from streamer.task.lifecycle import TaskState

if TYPE_CHECKING:
    from streamer.worker.tasks import TaskSet

__all__ = ["Roles", "TaskRoles"]

_log = logging.getLogger(__name__)


class Roles(Protocol):
    """What the worker does with a task at this moment, and how that is changed."""

    def is_open_for_restore(self, task: TaskId) -> bool:
        """Whether it is a copy, or a task that does not process yet."""

    def is_active(self, task: TaskId) -> bool: ...

    def is_serving(self, task: TaskId) -> bool:
        """Whether it processes, or follows with no more lag than a warm copy may have."""

    def reopen(self, task: TaskId, exchange: Callable[[], None]) -> None:
        """Close its database, exchange the files, and open it in the same role."""

    def restore_whole(self, task: TaskId, error: StateOutdatedError) -> None:
        """Put its state aside, and restore it from the begin of its changelogs."""

    def give_up(self, task: TaskId, error: StreamerError) -> None:
        """It has failed."""


class TaskRoles:
    """The `Roles` of the tasks and copies of a worker. Used by the main thread."""

    def __init__(
        self, tasks: TaskSet, *, directory: WorkerDirectory, restorer: Restorer, lag_max: int
    ) -> None:
        self._tasks = tasks
        self._standbys = tasks.standbys
        self._directory = directory
        self._restorer = restorer
        self._lag_max = lag_max

    def is_open_for_restore(self, task: TaskId) -> bool:
        active = self._tasks.get(task)
        if active is not None:
            return active.state is TaskState.RESTORING
        return task in self._standbys.tasks

    def is_active(self, task: TaskId) -> bool:
        return task in self._tasks.owned

    def is_serving(self, task: TaskId) -> bool:
        active = self._tasks.get(task)
        if active is not None:
            return active.state is TaskState.RUNNING
        lag = self._restorer.lag(task)
        return lag is not None and (lag <= self._lag_max or self._restorer.is_current(task))

    def reopen(self, task: TaskId, exchange: Callable[[], None]) -> None:
        if self._tasks.get(task) is not None:
            self._tasks.close([task])
            try:
                exchange()
            except StreamerError as error:
                self._tasks.cannot_open(task, error)
                return
            self._tasks.open([task])
        elif task in self._standbys.tasks:
            self._standbys.close([task])
            try:
                exchange()
            except StreamerError as error:
                self._standbys.fail(task, error)
                return
            self._standbys.open(task)

    def restore_whole(self, task: TaskId, error: StateOutdatedError) -> None:
        """Into a new database, beside the one that is too old."""
        if self._tasks.get(task) is None:
            self._standbys.close([task])
            self._standbys.begin_anew(task, error)
            return

        def put_aside() -> None:
            aside = self._directory.put_aside(task, time.time_ns() // 1_000_000)
            _log.warning(
                "%s. It is restored as a whole from its changelogs; the old state was moved to %s,"
                " is not read again, and can be deleted",
                error,
                aside,
            )

        self.reopen(task, put_aside)

    def give_up(self, task: TaskId, error: StreamerError) -> None:
        active = self._tasks.get(task)
        if active is not None:
            self._tasks.fail(active, error)
        elif task in self._standbys.tasks:
            self._standbys.close([task])
            self._standbys.fail(task, error)
