"""Workers for the tests of HTTP: real databases and real servers, without Kafka."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streamer.http import queries
from streamer.http.server import Server
from streamer.http.serving import Health, Rows, ServedTask
from streamer.ids import TaskId
from streamer.layout import Partitioner
from streamer.store.keys import partition_key, row, session_key, window_key
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.graph import Topology
from streamer.topology.partitioner import partition_of

POOL = MemoryPool(8 << 20, 8 << 20)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def values(self) -> list[Any]:
        return [one["value"] for one in self.json["rows"]]

    @property
    def keys(self) -> list[Any]:
        return [one["key"] for one in self.json["rows"]]


@dataclass
class Worker:
    """The worker that a server serves: tasks of one topology over databases of its own."""

    topology: Topology
    directory: Path
    counts: int = 1
    by: Partitioner = "murmur2"
    width: int = 0
    served: dict[TaskId, ServedTask] = field(default_factory=dict)
    owners: dict[TaskId, str] = field(default_factory=dict)
    copies: dict[TaskId, list[tuple[str, int]]] = field(default_factory=dict)
    acceptable_lag: int = 10_000
    keeps_copies: bool = False
    state_of_health: Health = field(default_factory=lambda: Health(True, True))
    server: Server | None = None

    # -- what the server asks ------------------------------------------------------------------

    def tasks(self) -> list[ServedTask]:
        return list(self.served.values())

    def task_count(self, subtopology: int) -> int:
        return self.counts

    def placing(self, subtopology: int) -> tuple[int, Partitioner]:
        return self.width or self.counts, self.by

    def owner(self, task: TaskId) -> str | None:
        return self.owners.get(task)

    def standbys(self, task: TaskId) -> list[tuple[str, int]]:
        return sorted(self.copies.get(task, []), key=lambda one: one[1])

    def health(self) -> Health:
        return self.state_of_health

    # -- what a test does ----------------------------------------------------------------------

    def open(
        self,
        *partitions: int,
        stream_time_ms: int = 0,
        state: str = "running",
        lag: int | None = 0,
    ) -> None:
        for partition in partitions:
            task = TaskId(0, partition)
            database = TaskDatabase.open(
                self.directory / str(task), self.topology.stores, pool=POOL, options={}
            )
            self.serve(task, database, stream_time_ms=stream_time_ms, state=state, lag=lag)

    def serve(
        self,
        task: TaskId,
        database: Rows,
        *,
        stream_time_ms: int = 0,
        state: str = "running",
        lag: int | None = 0,
        copy_lag: int | None = None,
        age_ms: int | None = None,
        is_lapsed: bool = False,
    ) -> None:
        self.served[task] = ServedTask(
            task,
            state,
            stream_time_ms,
            database,
            lag,
            copy_lag=copy_lag,
            age_ms=age_ms,
            is_lapsed=is_lapsed,
        )

    def put(self, store: str, rows: dict[bytes, tuple[int, bytes]]) -> None:
        """Write rows, each into the task that has its key: stored key -> (timestamp, value)."""
        (spec,) = [one for one in self.topology.stores if one.name == store]
        changes: dict[TaskId, list[tuple[bytes, bytes | None]]] = {}
        for stored_key, (stamp, value) in rows.items():
            home = partition_of(partition_key(spec.kind, stored_key), self.counts)
            changes.setdefault(TaskId(0, home), []).append((stored_key, row(stamp, value)))
        for task, changed in changes.items():
            database = self.served[task].database
            assert isinstance(database, TaskDatabase)
            database.write({store: changed}, {})

    @property
    def address(self) -> str:
        assert self.server is not None
        return f"127.0.0.1:{self.server.port}"

    def get(self, path: str, *, method: str = "GET", body: Any = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection(self.address, timeout=40)
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any) -> Reply:
        return self.get(path, method="POST", body=body)


def window(start_ms: int, key: str) -> bytes:
    return window_key(start_ms, key.encode())


def session(key: str, start_ms: int, end_ms: int) -> bytes:
    return session_key(key.encode(), start_ms, end_ms)


Start = Callable[..., Worker]


@pytest.fixture(autouse=True, scope="module")
def _no_patience() -> Iterator[None]:
    """What nobody answers is refused at once; a test of how long that is tried sets it anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries, "AGAIN_SECONDS_MAX", 0.0)
        yield


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a worker with `start(topology, counts=...)`; open its tasks afterwards."""
    workers: list[Worker] = []

    def make(topology: Topology, *, counts: int = 1) -> Worker:
        worker = Worker(topology, tmp_path / str(len(workers)), counts)
        worker.server = Server(worker, "127.0.0.1", 0)
        worker.server.start()
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        assert worker.server is not None
        worker.server.close()
        for served in worker.tasks():
            if isinstance(served.database, TaskDatabase):
                served.database.close()
