"""A task made from its directory: the database is open, nothing is restored yet."""

from __future__ import annotations

from streamer import failpoints
from streamer.ids import TaskId
from streamer.store.directory import WorkerDirectory
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.task.active import ActiveTask
from streamer.task.build import Plan, changelogs, input_partitions
from streamer.topology.partitions import Partitions
from streamer.worker.new_stores import warn_of_left_state

__all__ = ["active_task", "open_database"]


def open_database(
    task: TaskId, plan: Plan, *, directory: WorkerDirectory, pool: MemoryPool
) -> TaskDatabase:
    """Raises what `TaskDatabase.open` raises."""
    topology = plan.topology
    failpoints.hit("task.before_open")
    database = TaskDatabase.open(
        directory.task(task),
        topology.subtopologies[task.subtopology].stores,
        pool=pool,
        options=plan.config.rocksdb,
    )
    failpoints.hit("task.after_open")
    warn_of_left_state(
        task, database.directory, database.found, application_id=topology.application_id
    )
    return database


def active_task(
    task: TaskId, database: TaskDatabase, *, plan: Plan, planned: Partitions
) -> ActiveTask:
    """The task that is to process with this database."""
    topology = plan.topology
    return ActiveTask(
        task,
        database=database,
        changelogs=changelogs(topology, task),
        partitions=input_partitions(topology, task, dict(planned.sources)),
    )
