"""What the worker shows over HTTP. Read by other threads: everything here is a copy or a lookup."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from streamer.cluster.lease import Lease
from streamer.config import Config
from streamer.http.server import Server
from streamer.http.serving import Health, ServedTask
from streamer.ids import TaskId
from streamer.layout import Partitioner
from streamer.task.active import ActiveTask
from streamer.task.lifecycle import TaskState
from streamer.topology.graph import Topology
from streamer.topology.partitions import Partitions
from streamer.worker.owners import Owners
from streamer.worker.tasks import TaskSet

__all__ = ["WorkerServing", "serve"]

_log = logging.getLogger("streamer.worker.worker")


class WorkerServing:
    """The view of one worker."""

    def __init__(
        self, topology: Topology, planned: Partitions, *, tasks: TaskSet, config: Config
    ) -> None:
        self.topology = topology
        self.address = ""
        self.owners: Owners | None = None
        self.lease: Lease | None = None
        self.stuck_ms = 0
        self._planned = planned
        self._tasks = tasks
        self._config = config

    @property
    def answers_as_owner(self) -> bool:
        """Whether nobody else can own what runs here, at this moment."""
        return self.lease is None or self.lease.holds

    def tasks(self) -> list[ServedTask]:
        """Tasks whose database is open here; a failed one still shows what is committed. Those
        that another may own by now are copies."""
        # Looked at before anything is read: what is read then was true at this moment.
        holds = self.answers_as_owner
        served = [
            ServedTask(
                task=active.task,
                state=active.state.value,
                stream_time_ms=active.committed_time_ms,
                database=active.database,
                lag_records=active.lag_records,
                times=active.committed_times,
                copy_lag=self._tasks.restore_lag(active.task),
            )
            for active in self._tasks.all
            if active.state in (TaskState.RUNNING, TaskState.RESTORING, TaskState.FAILED)
        ]
        if not holds:
            age_ms = self.lease.age_ms if self.lease else None
            served = [_lapsed(one, age_ms) if one.is_readable else one for one in served]
        served += [
            ServedTask(
                task=standby.task,
                state="standby",
                stream_time_ms=standby.stored.stream_time_ms,
                database=standby.database,
                lag_records=self._tasks.restore_lag(standby.task),
                times=standby.stored.times,
                age_ms=self._tasks.copy_age_ms(standby.task),
            )
            for standby in self._tasks.standbys.all
        ]
        return served

    def task_count(self, subtopology: int) -> int:
        return self._planned.task_count(subtopology)

    def placing(self, subtopology: int) -> tuple[int, Partitioner]:
        found = self._planned.layout.subtopologies.get(subtopology)
        return (1, "murmur2") if found is None else (found.width, found.partitioner)

    def owner(self, task: TaskId) -> str | None:
        found = None if self.owners is None else self.owners.owner(task)
        # A task that is a copy here may still be said to run here.
        return None if found == self.address else found

    def standbys(self, task: TaskId) -> list[tuple[str, int]]:
        return [] if self.owners is None else self.owners.standbys(task)

    @property
    def keeps_copies(self) -> bool:
        return self._config.standby_replicas > 0

    @property
    def acceptable_lag(self) -> int:
        return self._config.acceptable_recovery_lag

    def health(self) -> Health:
        """Live: the loop turns. Ready: every task that this worker owns is running."""
        reasons = []
        if self.stuck_ms:
            reasons.append(f"no progress for {self.stuck_ms // 1000} s")
        failures = self._tasks.failures
        reasons += [f"task {task} has stopped: {error}" for task, error in failures.items()]
        waiting = [one for one in self._tasks.all if one.state is TaskState.RESTORING]
        reasons += [f"task {one.task} is being restored" for one in waiting]
        return Health(
            is_live=not self.stuck_ms,
            is_ready=not reasons,
            reasons=reasons,
            details={
                "worker": self._config.worker_id,
                "zone": self._config.zone,
                "answers_as_owner": self.answers_as_owner,
                "tasks": {str(one.task): _details(one) for one in self._tasks.all},
                "failed_standbys": {
                    str(task): error.describe()
                    for task, error in self._tasks.standbys.failures.items()
                },
            },
        )


def _lapsed(one: ServedTask, age_ms: int | None) -> ServedTask:
    return replace(one, state="standby", lag_records=0, age_ms=age_ms, is_lapsed=True)


def _details(active: ActiveTask) -> dict[str, Any]:
    return {
        "state": active.state.value,
        "lag_records": active.lag_records,
        "records_processed": active.records_processed,
        "stream_time_ms": active.committed_time_ms,
        "positions": {str(place): at for place, at in active.committed.items()},
        "processed": {str(place): at for place, at in active.positions.items()},
        "failure": None if active.failure is None else active.failure.describe(),
    }


def serve(serving: WorkerServing, config: Config, *, alone: bool, closing: ExitStack) -> None:
    """Until `closing`; whoever is not `alone` forwards what others own."""
    if config.http_port < 0:
        return
    if not alone:
        serving.owners = Owners(config)
        closing.callback(serving.owners.close)
        serving.owners.start()
    server = Server(
        serving, config.http_host, config.http_port, schema_registry=config.schema_registry
    )
    server.start()
    closing.callback(server.close)
    serving.address = config.application_server or f"{config.http_host}:{server.port}"
    _log.info("queries, health and metrics at http://%s", serving.address)
