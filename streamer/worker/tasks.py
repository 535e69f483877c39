"""The tasks of one worker: opened, restored, started, closed, as the assignment says.

Opening and restoring happen beside processing; a task is started by the main thread between two
batches, and closed after a commit. None of it runs inside a callback of Kafka's client.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import msgspec

from streamer import failpoints, metrics
from streamer.config import Config, budget
from streamer.control.messages import TaskReport
from streamer.errors import KafkaUnavailableError, StateOutdatedError, StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Fetched, InputReader
from streamer.log import task_context
from streamer.restore import Restorer
from streamer.restore.bootstrap import Wanted
from streamer.restore.bootstraps import Bootstraps
from streamer.store.directory import WorkerDirectory
from streamer.store.pool import MemoryPool
from streamer.task.active import ActiveTask
from streamer.task.build import Plan, changelogs
from streamer.task.lifecycle import TaskState
from streamer.topology.partitions import Partitions
from streamer.worker.bootstrapping import Bootstrapping
from streamer.worker.intake import Intake
from streamer.worker.opening import active_task, open_database, wanted_state
from streamer.worker.reports import Rates, report
from streamer.worker.roles import TaskRoles
from streamer.worker.standbys import Standbys
from streamer.worker.starting import start_task

__all__ = ["TaskSet"]

_log = logging.getLogger(__name__)

_AGAIN_S = 1.0


class TaskSet:
    """Tasks by id, and by the partitions they read. Changed by the main thread alone; `all`,
    `running` and `failures` may be read by any, since each first copies in one step."""

    def __init__(
        self,
        plan: Plan,
        planned: Partitions,
        *,
        directory: WorkerDirectory,
        pool: MemoryPool,
        reader: InputReader,
        restorer: Restorer,
        bootstraps: Bootstraps | None = None,
    ) -> None:
        self._plan = plan
        self._planned = planned
        self._directory = directory
        self.pool = pool
        self._reader = reader
        self._restorer = restorer
        self._tasks: dict[TaskId, ActiveTask] = {}
        self.standbys = Standbys(
            lambda task: open_database(task, plan, directory=directory, pool=pool),
            lambda task: changelogs(plan.topology, task, plan.layout),
            directory=directory,
            restorer=restorer,
        )
        self._roles = TaskRoles(
            self,
            directory=directory,
            restorer=restorer,
            lag_max=plan.config.acceptable_recovery_lag,
        )
        self.bootstrapping = self.standbys.bootstrapping = Bootstrapping(
            self._roles, self._wanted, restorer=restorer, config=plan.config, pool=bootstraps
        )
        self._intake = Intake(reader)
        self._waiting: set[TaskId] = set()
        self._again_s = 0.0
        self._rates = Rates()
        self.unopened: dict[TaskId, StreamerError] = {}

    @property
    def config(self) -> Config:
        return self._plan.config

    @property
    def owned(self) -> frozenset[TaskId]:
        return frozenset(self._tasks) | frozenset(self.unopened)

    @property
    def all(self) -> list[ActiveTask]:
        # One call in C over a dict: no other thread runs in between.
        return list(self._tasks.values())

    @property
    def running(self) -> list[ActiveTask]:
        return [task for task in self.all if task.state is TaskState.RUNNING]

    @property
    def failures(self) -> dict[TaskId, StreamerError]:
        """Why tasks have stopped."""
        halted = {active.task: active.failure for active in self.all if active.failure is not None}
        return self.unopened.copy() | halted

    def reading(self, partition: TopicPartition) -> ActiveTask | None:
        """The running task that reads this partition."""
        return self._intake.reading(partition)

    def get(self, task: TaskId) -> ActiveTask | None:
        """A task that is open here to be processed, running or not."""
        return self._tasks.get(task)

    # -- opening -------------------------------------------------------------------------------

    def open(self, tasks: Iterable[TaskId]) -> None:
        """Open these tasks, and divide the memory for recent rows among those that are here now."""
        for task in sorted(tasks):
            self._open(task)
        each = self._plan.recent_bytes // max(len(self._tasks), 1)
        for active in self.running:
            active.pipeline.keep_recent(each)

    def _open(self, task: TaskId) -> None:
        """Open a task's database and begin to restore it, or promote the copy that is here. A
        failure is the task's own."""
        with task_context(task):
            standby = self.standbys.take(task)
            try:
                database = (
                    standby.database
                    if standby
                    else open_database(task, self._plan, directory=self._directory, pool=self.pool)
                )
            except StreamerError as error:
                self.cannot_open(task, error)
                return
            active = active_task(task, database, plan=self._plan, planned=self._planned)
            self._tasks[task] = active
            active.move(TaskState.RESTORING)
            metrics.set_task_state(task, active.state.value)
            if standby is None:
                self._restorer.start(task, database, active.changelogs)
                self.bootstrapping.opened(task, database.directory)
            elif not self.bootstrapping.is_paused(task):
                self._restorer.promote(task)
            self.bootstrapping.promoted(task)

    def _wanted(self, task: TaskId, local_offsets: int | None) -> Wanted:
        return wanted_state(
            task, self._plan, directory=self._directory, local_offsets=local_offsets
        )

    def cannot_open(self, task: TaskId, error: StreamerError) -> None:
        _log.error("task %s cannot be opened: %s", task, error.describe())
        self.unopened[task] = error
        metrics.set_task_state(task, TaskState.FAILED.value)

    def start_restored(self) -> bool:
        """Start the tasks whose restore has ended; returns whether there were any. Where brokers
        are away just then, it is tried again."""
        self._restorer.beside_processing = bool(self._intake)
        changed = self.bootstrapping.turn()
        ended = dict(self._restorer.finished())
        if time.monotonic() >= self._again_s:
            ended.update(dict.fromkeys(self._waiting))
        for task, error in ended.items():
            self._waiting.discard(task)
            active = self._tasks.get(task)
            if active is None:
                self.standbys.ended(task, error)
                continue
            if active.state is not TaskState.RESTORING:
                continue
            with task_context(task):
                try:
                    if error is None:
                        self._start(active)
                    elif self.bootstrapping.rescues(task, error):
                        continue
                    elif isinstance(error, StateOutdatedError):
                        self._roles.restore_whole(task, error)
                    else:
                        self.fail(active, error)
                except KafkaUnavailableError as away:
                    _log.warning("task %s waits to be started: %s", task, away)
                    self._waiting.add(task)
                    self._again_s = time.monotonic() + _AGAIN_S
                except StreamerError as problem:
                    self.fail(active, problem)
        return changed or bool(ended)

    def _start(self, active: ActiveTask) -> None:
        task, restored = active.task, self._restorer.progress(active.task).restored_records
        recent_bytes = self._plan.recent_bytes // max(len(self._tasks), 1)
        start_task(
            active,
            self._plan,
            self._planned,
            reader=self._reader,
            restored_records=restored,
            recent_bytes=recent_bytes,
        )
        self._intake.add(active)
        metrics.set_task_state(task, active.state.value)
        goes_on = ", ".join(f"{place}@{at}" for place, at in active.positions.items())
        _log.info("task %s runs: restored %d records, goes on at %s", task, restored, goes_on)

    # -- closing -------------------------------------------------------------------------------

    def close(self, tasks: Iterable[TaskId]) -> None:
        """Close tasks; what they did since the last commit must be committed or aborted."""
        for task in list(tasks):
            self.unopened.pop(task, None)
            self.bootstrapping.forget(task)
            active = self._tasks.pop(task, None)
            if active is None:
                continue
            with task_context(task):
                failpoints.hit("task.before_close")
                if active.state is TaskState.RESTORING:
                    self._restorer.cancel(task)
                self._intake.remove(active)
                self._waiting.discard(task)
                active.close()
                metrics.forget_task(task)
                _log.info("task %s is closed", task)

    def fail(self, active: ActiveTask, error: StreamerError) -> None:
        """Halt one task for good; the others go on. Its state and its place are kept."""
        _log.error("task %s has stopped: %s", active.task, error.describe())
        self._intake.remove(active)
        active.abort()
        active.fail(error)
        metrics.set_task_state(active.task, active.state.value)

    # -- input ---------------------------------------------------------------------------------

    def take(self, fetched: Fetched, now_ms: int) -> None:
        """Hand what was fetched to the tasks that read it; `now_ms` never goes back."""
        self._intake.take(fetched, now_ms)

    def rewind(self) -> None:
        """After an abort: every task forgets, and its input is read again from the last commit."""
        self._intake.rewind(self.running)

    def hold(self) -> None:
        """Read nothing but what the application sends to itself, until `release`."""
        self._intake.hold(self.running, self._planned.repartition)

    def release(self) -> None:
        self._intake.release(self.running)

    @property
    def poll_ms(self) -> int:
        """How long a fetch may wait for records."""
        return self._intake.poll_ms(self.config.poll_ms)

    def balance_input(self) -> None:
        """Pause partitions that run ahead of the others of their task, and tasks that have been
        read while others wait; resume them later."""
        self._intake.balance(self.running, budget(self.config).waiting_bytes)

    def restore_lag(self, task: TaskId) -> int | None:
        """What a copy, or a task that is being restored, has yet to read of its changelogs."""
        return self._restorer.lag(task)

    def copy_age_ms(self, task: TaskId) -> int | None:
        """How long ago, at most, a copy's lag was as `restore_lag` tells it."""
        return self._restorer.age_ms(task)

    # -- what others want to know ----------------------------------------------------------------

    def reports(self) -> dict[TaskId, TaskReport]:
        """The status of every task, for the cluster."""
        metrics.assigned_tasks.set(len(self.owned))
        reports = {task: TaskReport(state="failed") for task in self.unopened}
        for task, active in self._tasks.items():
            rate = self._rates.look(active)
            told = report(active, self._reader, self._restorer, rate=rate)
            chore = self.bootstrapping.chore(task)
            reports[task] = told if chore is None else msgspec.structs.replace(told, chore=chore)
        return reports
