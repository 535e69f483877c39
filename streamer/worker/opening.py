"""A task made from its directory: the database is open, nothing is restored yet."""

from __future__ import annotations

from pathlib import Path

from streamer import failpoints
from streamer.changelog.format import Positions
from streamer.ids import TaskId
from streamer.restore.bootstrap import Wanted
from streamer.store.directory import WorkerDirectory
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.task.active import ActiveTask
from streamer.task.build import Plan, changelogs, input_partitions
from streamer.topology.partitions import Partitions
from streamer.worker.new_stores import warn_of_left_state

__all__ = ["active_task", "look_inside", "open_database", "wanted_state"]


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
        changelogs=changelogs(topology, task, planned.layout),
        partitions=input_partitions(topology, task, planned.sources, layout=planned.layout),
    )


def look_inside(task: TaskId, path: Path, plan: Plan, *, pool: MemoryPool) -> Positions:
    """What a database that is not in its place stands at. Raises what `TaskDatabase.open` does."""
    stores = plan.topology.subtopologies[task.subtopology].stores
    database = TaskDatabase.open(path, stores, pool=pool, options=plan.config.rocksdb)
    try:
        return Positions.decode(database.metadata())
    finally:
        database.close()


def wanted_state(
    task: TaskId, plan: Plan, *, directory: WorkerDirectory, local_offsets: int | None
) -> Wanted:
    """The state of a task as a bootstrap is to make it."""
    stores = plan.topology.subtopologies[task.subtopology].stores
    return Wanted(
        task=task,
        target=directory.task(task),
        changelogs=changelogs(plan.topology, task, plan.layout),
        kinds={spec.name: spec.kind.value for spec in stores},
        local_offsets=local_offsets,
    )
