"""`Worker`: one process's share of an application, from its state directory to its HTTP server.

    prepare topics -> take over the transactional id -> join -> turn, turn, ... -> close -> leave

Taking over the transactional id fences whoever used it before, so a worker that was restarted
quickly cannot meet its own ghost; only then does it join and may be given tasks.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from streamer import failpoints, metrics
from streamer.clock import Clock, SystemClock
from streamer.cluster.member import Member, Solo
from streamer.config import Config, budget
from streamer.errors import StreamerError
from streamer.http.server import Server
from streamer.ids import transactional_id
from streamer.kafka.admin import Admin
from streamer.kafka.consumer import InputConsumer
from streamer.kafka.producer import WorkerProducer
from streamer.restore import Restorer
from streamer.store import options
from streamer.store.directory import WorkerDirectory
from streamer.store.pool import MemoryPool
from streamer.task.build import Plan
from streamer.topology.graph import Topology
from streamer.topology.partitions import Partitions
from streamer.worker.loop import Loop
from streamer.worker.produced import WorkerOutput
from streamer.worker.serving import WorkerServing
from streamer.worker.tasks import TaskSet
from streamer.worker.topics import check_unchanged, prepare
from streamer.worker.watch import Watch

__all__ = ["Worker"]

_log = logging.getLogger(__name__)

# A key of the open transaction holds a value as object and as row: about this much (measured).
_KEY_BYTES = 600


class Worker:
    """Runs until `stop` is called or something ends it. `solo` runs all tasks without a cluster."""

    def __init__(
        self,
        topology: Topology,
        config: Config,
        *,
        slot: int | None = None,
        solo: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._topology = topology
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._solo = solo
        for spec in topology.stores:
            options.check({**config.rocksdb, **spec.rocksdb}, f"store {spec.name!r}")
        self._directory = WorkerDirectory.open(
            config.state_dir, topology.application_id, worker_id=config.worker_id, slot=slot
        )
        self.config = replace(config, worker_id=self._directory.worker_id)
        self.loop: Loop | None = None

    @property
    def worker_id(self) -> str:
        return self._directory.worker_id

    def stop(self) -> None:
        """Ask for a clean stop; may be called from a signal handler or another thread."""
        self._stopping.set()

    def run(self) -> int:
        """Work until stopped. Returns 1 if tasks had failed, else 0.

        Raises the StreamerError that made going on impossible; the state is kept in any case.
        """
        try:
            admin = Admin(self.config)
            planned = prepare(self._topology, self.config, admin)
            _log.info(
                "worker %s of %s: %d tasks in all",
                self.worker_id,
                self._topology.application_id,
                len(planned.tasks),
            )
            return self._run(planned, admin)
        finally:
            self._directory.close()

    def _run(self, planned: Partitions, admin: Admin) -> int:
        parts = budget(self.config)
        pool = MemoryPool(parts.block_cache_bytes, parts.write_buffers_bytes)
        reader = InputConsumer(self.config)
        output = WorkerOutput(self.config, self._producer())
        restorer = Restorer(self.config, pool)
        plan = Plan(
            topology=self._topology,
            config=self.config,
            output=output,
            wall_time_ms=self._clock.now_ms,
            cache_bytes=parts.record_cache_bytes // 2,
        )
        tasks = TaskSet(
            plan,
            planned,
            directory=self._directory,
            pool=pool,
            reader=reader,
            restorer=restorer,
        )
        serving = WorkerServing(self._topology, planned, tasks, self.config)
        server = self._serve(serving)
        member = self._member(planned, serving.address)
        self.loop = Loop(
            self.config,
            clock=self._clock,
            tasks=tasks,
            reader=reader,
            producer=output,
            member=member,
            keys_max=parts.record_cache_bytes // 2 // _KEY_BYTES,
            renew=lambda: output.renew(self._producer()),
        )
        watch = Watch(self.config, self.loop, serving, clock=self._clock)
        watch.start()
        member.start()
        try:
            return self._turn(self.loop, tasks, admin, planned)
        finally:
            self._close(member, restorer, reader, watch, server)

    def _turn(self, loop: Loop, tasks: TaskSet, admin: Admin, planned: Partitions) -> int:
        checked_ms = self._clock.monotonic_ms()
        error: StreamerError | None = None
        try:
            while not self._stopping.is_set():
                loop.turn()
                failures = tasks.failures
                if failures and len(failures) == len(tasks.owned):
                    # Nothing is left to do here: say why, rather than look alive.
                    raise next(iter(failures.values()))
                now_ms = self._clock.monotonic_ms()
                if now_ms - checked_ms >= self.config.metadata_max_age_ms:
                    checked_ms = now_ms
                    counts = admin.partitions_if_available(
                        [topic for topic in planned.sources if topic not in planned.repartition]
                    )
                    if counts is not None:
                        check_unchanged(planned, self._topology, counts)
        except StreamerError as problem:
            error = problem
        failed = bool(tasks.failures)
        loop.close()
        if error is not None:
            raise error
        return 1 if failed else 0

    def _close(
        self,
        member: Member | Solo,
        restorer: Restorer,
        reader: InputConsumer,
        watch: Watch,
        server: Server | None,
    ) -> None:
        failpoints.hit("worker.before_leave")
        member.leave(timeout_s=5.0)
        restorer.close()
        watch.close()
        if server is not None:
            server.close()
        reader.close()

    def _producer(self) -> WorkerProducer:
        name = None
        if self.config.exactly_once:
            name = transactional_id(self._topology.application_id, self.worker_id)
        producer = WorkerProducer(self.config, name)
        producer.init()
        return producer

    def _member(self, planned: Partitions, address: str) -> Member | Solo:
        kind = Solo if self._solo else Member
        return kind(self.config, tasks=planned.tasks, clock=self._clock, address=address)

    def _serve(self, serving: WorkerServing) -> Server | None:
        if self.config.http_port < 0:
            return None
        server = Server(serving, self.config.http_host, self.config.http_port)
        server.start()
        serving.address = self.config.application_server or f"{self.config.http_host}:{server.port}"
        _log.info("queries, health and metrics at http://%s", serving.address)
        metrics.worker_info.labels(
            self._topology.application_id, self.worker_id, self.config.zone
        ).set(1)
        return server
