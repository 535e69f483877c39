"""A task made from its directory: the database is open, nothing is restored yet."""

from __future__ import annotations

from streamer import failpoints
from streamer.changelog.format import Positions
from streamer.errors import StreamerError
from streamer.ids import TaskId
from streamer.store.directory import WorkerDirectory
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.task.active import ActiveTask
from streamer.task.build import Plan, changelogs, input_partitions
from streamer.topology.partitions import Partitions
from streamer.worker.new_stores import warn_of_left_state

__all__ = ["open_task"]


def open_task(
    task: TaskId, plan: Plan, planned: Partitions, *, directory: WorkerDirectory, pool: MemoryPool
) -> tuple[ActiveTask, Positions]:
    """The task, and the positions that its database holds. Raises what `TaskDatabase.open` raises,
    and StateDirectoryError for positions of an unknown format."""
    topology = plan.topology
    failpoints.hit("task.before_open")
    database = TaskDatabase.open(
        directory.task(task),
        topology.subtopologies[task.subtopology].stores,
        pool=pool,
        options=plan.config.rocksdb,
    )
    failpoints.hit("task.after_open")
    try:
        stored = Positions.decode(database.metadata())
    except StreamerError:
        database.close()
        raise
    warn_of_left_state(
        task, database.directory, database.found, application_id=topology.application_id
    )
    active = ActiveTask(
        task,
        database=database,
        changelogs=changelogs(topology, task),
        partitions=input_partitions(topology, task, dict(planned.sources)),
    )
    return active, stored
