"""One life of a worker process in the driver: from opening its databases to its end.

Everything that decides is the product's own: pipelines, caches, commit order, RocksDB, policies.
What is done here is what the worker's loop does, without waiting: fetch, process, commit.
"""

from __future__ import annotations

from pathlib import Path

from streamer.changelog.format import Positions
from streamer.config import budget
from streamer.errors import (
    RAISED_BY_USERS,
    FencedError,
    KafkaUnavailableError,
    ProcessingError,
    StreamerError,
)
from streamer.ids import TaskId, transactional_id
from streamer.kafka.api import AbortableError
from streamer.split.move import closing_lags
from streamer.store.rocks import TaskDatabase
from streamer.task.active import ActiveTask, committed_by
from streamer.task.build import Plan, changelogs, input_partitions
from streamer.task.commit import TaskFailedError, commit
from streamer.task.input import TaskInput
from streamer.task.lifecycle import TaskState
from streamer.testing.changelogs import restore
from streamer.testing.disk import copy_at_rest
from streamer.testing.stage import Stage
from streamer.worker.parents import known_of_parents
from streamer.worker.positions import resolve_start
from streamer.worker.produced import WorkerOutput

__all__ = ["Life"]

_WORKER = "driver"


class Life:
    """All tasks of the application in one process over the databases in `directory`."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self.stage = stage
        self.directory = directory
        config = stage.config
        self.failures: dict[TaskId, StreamerError] = {}
        self.restored: dict[TaskId, int] = {}
        self._reader = stage.broker.reader(config.application_id)
        name = transactional_id(config.application_id, _WORKER) if config.exactly_once else None
        producer = stage.broker.producer(name)
        producer.init()
        self._output = WorkerOutput(config, producer)
        self._plan = Plan(
            topology=stage.topology,
            config=config,
            output=self._output,
            wall_time_ms=stage.clock.now_ms,
            recent_bytes=budget(config).recent_rows_bytes,
            layout=stage.planned.layout,
        )
        self.tasks = {task: self._opened(task) for task in stage.planned.tasks}
        self._output.inputs = lambda: committed_by(self.running)
        self._by_partition = {
            place: task for task in self.tasks.values() for place in task.partitions
        }

    # -- from disk to running ------------------------------------------------------------------

    def _opened(self, task: TaskId) -> ActiveTask:
        topology, config = self.stage.topology, self.stage.config
        planned = self.stage.planned
        database = TaskDatabase.open(
            self.directory / str(task),
            topology.subtopologies[task.subtopology].stores,
            pool=self.stage.pool,
            options=config.rocksdb,
        )
        active = ActiveTask(
            task,
            database=database,
            changelogs=changelogs(topology, task, planned.layout),
            partitions=input_partitions(topology, task, planned.sources, layout=planned.layout),
        )
        active.move(TaskState.RESTORING)
        try:
            self._start(active)
        except StreamerError as error:
            active.fail(error)
            self.failures[task] = error
        return active

    def _start(self, active: ActiveTask) -> None:
        stage, task, database = self.stage, active.task, active.database
        stored = Positions.decode(database.metadata())
        lags = closing_lags(stage.topology.subtopologies[task.subtopology])
        self.restored[task] = restore(
            task,
            database,
            active.changelogs,
            broker=stage.broker,
            config=stage.config,
            clock=stage.clock,
        )
        start = resolve_start(
            task,
            active.partitions,
            reader=self._reader,
            stored=stored,
            restored_records=self.restored[task],
            stores=database.specs.values(),
            filled=[name for name in active.changelogs if database.has_rows(name)],
            internal=stage.planned.repartition,
            lags=lags,
            config=stage.config,
        )
        passed, rows = known_of_parents(database, start, lags)
        pipeline = self._plan.pipeline(
            task,
            database,
            stream_time_ms=start.stream_time_ms,
            times=start.times,
            closings=start.closings,
            passed=rows,
            recent_bytes=self._plan.recent_bytes // len(stage.planned.tasks),
        )
        active.start(
            pipeline,
            TaskInput(
                active.partitions,
                records_max=stage.config.max_poll_records,
                idle_ms=stage.config.task_idle_ms,
            ),
            positions=start.positions,
            changelog_ends=Positions.decode(database.metadata()).changelogs,
            passed=passed,
        )
        active.refresh_positions = start.is_new
        self._reader.add(start.positions)

    # -- the loop ------------------------------------------------------------------------------

    @property
    def running(self) -> list[ActiveTask]:
        return [task for task in self.tasks.values() if task.state is TaskState.RUNNING]

    def process(self, *, records_max: int | None = None) -> int:
        """Fetch and process once; returns how many records were fetched or processed."""
        fetched = self._reader.fetch(records_max or self.stage.config.max_poll_records, 0)
        for place, error in fetched.failures.items():
            self._halt(self._by_partition[place], error)
        for batch in fetched.batches:
            self._by_partition[batch.place].add(batch)
        for place, end in fetched.ends.items():
            self._by_partition[place].input.reached_end(place, end)
        count = sum(map(len, fetched.batches))
        now_ms = self.stage.clock.now_ms()
        for task in self.running:
            try:
                count += task.process(now_ms)
                if task.pipeline.has_punctuation:
                    task.pipeline.punctuate(now_ms)
            except AbortableError:
                self.abort()
                return count + 1
            except (FencedError, KafkaUnavailableError):
                raise
            except RAISED_BY_USERS as error:
                self._halt(task, _as_streamer_error(error, task))
                return count + 1
        return count

    @property
    def needs_commit(self) -> bool:
        return self._output.is_open or any(task.needs_commit for task in self.running)

    def commit(self) -> None:
        """Commit what was processed. What cannot be committed is taken back and done again."""
        tasks = [task for task in self.running if task.needs_commit]
        if not tasks and not self._output.is_open:
            return
        now_ms = self.stage.clock.now_ms()
        try:
            failures = commit(tasks, self._output, self._reader, now_ms=now_ms)
        except TaskFailedError as failed:
            self._halt(failed.task, failed.error)
        except AbortableError:
            self.abort()
        else:
            for task, error in failures.items():
                self._fail(task, error)

    def abort(self) -> None:
        """Take back everything since the last commit; its records are read again."""
        self._output.abort()
        self._rewind()

    def _halt(self, task: ActiveTask, error: StreamerError) -> None:
        if self._output.is_open:
            self._output.abort()
        self._fail(task, error)
        self._rewind()

    def _fail(self, task: ActiveTask, error: StreamerError) -> None:
        self._reader.remove(task.partitions)
        task.abort()
        task.fail(error)
        self.failures[task.task] = error

    def _rewind(self) -> None:
        for task in self.running:
            task.abort()
            self._reader.seek(task.committed)

    # -- the end -------------------------------------------------------------------------------

    def copy_files(self, target: Path) -> None:
        """What a kill at this moment leaves on disk."""
        copy_at_rest(self.directory, target)

    def close(self) -> None:
        """Close the databases; what was not committed is neither committed nor aborted."""
        for task in self.tasks.values():
            if task.state is not TaskState.CLOSED:
                task.close()


def _as_streamer_error(error: BaseException, task: ActiveTask) -> StreamerError:
    if isinstance(error, StreamerError):
        return error
    problem = ProcessingError(
        f"{type(error).__name__} in task {task.task}: {error}",
        hint="user code outside a record's processing raised, such as a punctuation",
    )
    problem.__cause__ = error
    return problem
