"""`Worker`: one process's share of an application, from its state directory to its HTTP server.

    prepare topics -> take over the transactional id -> join -> turn, turn, ... -> close -> leave

Taking over the transactional id fences whoever used it before, so a worker that was restarted
quickly cannot meet its own ghost; only then does it join and may be given tasks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from streamer import failpoints, metrics
from streamer.clock import Clock, SystemClock
from streamer.cluster.candidate import Candidate
from streamer.cluster.member import Member
from streamer.cluster.solo import Solo
from streamer.cluster.work import Work
from streamer.config import Config, budget
from streamer.control.current import current_layout
from streamer.errors import (
    InternalTopicError,
    LayoutChangedError,
    PartitionsChangedError,
    StoppedError,
    StreamerError,
    TopologyChangedError,
    UsageError,
)
from streamer.ids import transactional_id
from streamer.kafka.admin import Admin
from streamer.kafka.at_least_once import AtLeastOnceProducer
from streamer.kafka.consumer import InputConsumer
from streamer.kafka.producer import WorkerProducer
from streamer.layout import ApplicationLayout
from streamer.restore import Restorer
from streamer.restore.bootstraps import Bootstraps, KafkaSurroundings
from streamer.snapshot.adopt import settle_all
from streamer.snapshot.pace import Pace
from streamer.store.directory import WorkerDirectory
from streamer.store.pool import MemoryPool
from streamer.task.active import committed_by
from streamer.task.build import Plan
from streamer.topology.graph import Topology
from streamer.topology.partitions import Partitions, external_topics
from streamer.topology.routed import routed
from streamer.worker.checks import check
from streamer.worker.chores import Chores
from streamer.worker.followed import Followed, Lead, following, intervals
from streamer.worker.following import Following
from streamer.worker.former import Former
from streamer.worker.gauges import Gauges, show_budget
from streamer.worker.growing import await_growth, widths
from streamer.worker.layouts import recorded_layout
from streamer.worker.loop import Loop
from streamer.worker.namesakes import refuse_namesakes
from streamer.worker.opening import look_inside
from streamer.worker.pausing import Pausing, recorded_for_good
from streamer.worker.produced import WorkerOutput
from streamer.worker.serving import WorkerServing, serve
from streamer.worker.shadow_marks import settle_shadows
from streamer.worker.shadowing import make_shadows
from streamer.worker.snapshots import Snapshots
from streamer.worker.strays import read_ahead
from streamer.worker.tasks import TaskSet
from streamer.worker.topics import prepare, written_topics
from streamer.worker.upkeep import Upkeep
from streamer.worker.watch import Watch

__all__ = ["Worker"]

_log = logging.getLogger(__name__)

_LEAVE_S = 5.0
# Where a layout is recorded meanwhile: topics may be those of the next one already.
_MAY_PASS = (
    LayoutChangedError,
    TopologyChangedError,
    PartitionsChangedError,
    InternalTopicError,
)


class Worker:
    """Runs until `stop` is called or something ends it. `solo` runs all tasks without a cluster;
    one that `follows` a group processes no record that this has not committed, until that is
    over."""

    def __init__(
        self,
        topology: Topology,
        config: Config,
        *,
        slot: int | None = None,
        solo: bool = False,
        follows: Lead | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._declared = self._topology = topology
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._solo = solo
        self._follows = follows
        self._stamp = follows.stamp if follows else None
        self._followed: Followed | None = None
        check(topology, config)
        self._directory = WorkerDirectory.open(
            config.state_dir, topology.application_id, worker_id=config.worker_id, slot=slot
        )
        self.config = replace(config, worker_id=self._directory.worker_id)
        # One for all that is sent and fetched, whatever repositories that concerns.
        self._pace = Pace(config.snapshot_bytes_per_second)
        self._candidate = Candidate(self.config)

    @property
    def worker_id(self) -> str:
        return self._directory.worker_id

    def stop(self) -> None:
        """Ask for a clean stop; may be called from a signal handler or another thread."""
        self._stopping.set()

    def run(self) -> int:
        """Work until stopped; after a new layout was recorded, with that one. Returns 1 if tasks
        had failed, else 0, also when it was stopped while it waited for brokers to begin.

        Raises the StreamerError that made going on impossible; the state is kept in any case.
        """
        steady = Following(self._clock, self._stopping)
        with self._directory, self._candidate:
            while True:
                try:
                    return self._begin()
                except StoppedError as stopped:
                    _log.info("stopped: %s", stopped)
                    return 0
                except _MAY_PASS as error:
                    holds = self._directory.layout.number
                    is_newer = partial(_is_newer, self.config, holds, stopping=self._stopping)
                    if not steady.begins_anew(error, is_newer):
                        return 0

    def _begin(self) -> int:
        if self._follows is not None and self._follows.is_over():
            # Its topics may be gone already, and would be made anew.
            raise StoppedError("what it follows is over")
        with ExitStack() as closing:
            for done in settle_all(self._directory.path / "tasks"):
                _log.warning("after a crash: %s", done)
            admin = Admin(self.config, stopping=self._stopping)
            record = recorded_layout(self._topology, self.config, admin)
            layout = record.layout if record else None
            # Before anything refuses it: that is not for want of a newer one.
            self._directory.layout = layout or ApplicationLayout()
            settle_shadows(self._directory.path / "tasks", record)
            self._topology = routed(self._declared, layout)
            read, _written = external_topics(self._topology)
            await_growth(self.config, admin, widths(layout, read), stopping=self._stopping)
            prepared = prepare(self._topology, self.config, admin, layout=layout)
            planned, self._delete_retention_ms = prepared
            self._directory.layout = planned.layout
            if not self._solo:
                refuse_namesakes(self._topology.application_id, self.worker_id, admin)
            _log.info(
                "worker %s of %s: %d tasks in all, layout %d",
                self.worker_id,
                self._topology.application_id,
                len(planned.tasks),
                planned.layout.number,
            )
            labels = self._topology.application_id, self.worker_id, self.config.zone
            metrics.worker_info.labels(*labels).set(1)
            self._followed = following(
                self.config, planned, self._follows, stopping=self._stopping, closing=closing
            )
            return self._run(planned, closing)

    def _run(self, planned: Partitions, closing: ExitStack) -> int:
        show_budget(parts := budget(self.config))
        reader = InputConsumer(self.config)
        closing.callback(reader.close)
        output = WorkerOutput(self.config, self._producer(planned), stamp=self._stamp)
        tasks = self._tasks(planned, reader, output, closing=closing)
        output.inputs = lambda: committed_by(tasks.running)
        serving = WorkerServing(self._topology, planned, tasks=tasks, config=self.config)
        serve(serving, self.config, alone=self._solo, closing=closing)
        member = self._member(planned, serving.address)
        serving.lease = member.lease
        snapshots = Snapshots(
            self.config,
            tasks,
            member.orders,
            directory=self._directory,
            clock=self._clock,
            pace=self._pace,
        )
        shadows = make_shadows(
            self._topology,
            self.config,
            directory=self._directory,
            pool=tasks.pool,
            delete_retention_ms=self._delete_retention_ms,
            closing=closing,
        )
        former = Former(self._directory)
        chores = Chores(member, lambda: snapshots.chores, shadows.told, former=former.told)
        loop = Loop(
            self.config,
            clock=self._clock,
            tasks=tasks,
            reader=reader,
            producer=output,
            member=chores,
            pausing=Pausing(
                tasks,
                lambda: recorded_for_good(self.config),
                running=planned.layout.number,
                clock=self._clock,
            ),
            held_bytes_max=parts.record_cache_bytes,
            renew=lambda: output.renew(self._producer(planned)),
            commit_ms=intervals(self.config, self._followed),
        )
        watch = Watch(self.config, loop, serving, gauges=Gauges(tasks), clock=self._clock)
        upkeep = Upkeep(
            self._topology,
            planned,
            tasks=tasks,
            config=self.config,
            follows_layout=self._solo,
        )
        closing.callback(snapshots.close)
        closing.callback(watch.close)
        closing.callback(upkeep.close)
        closing.push(partial(_leave, member))
        snapshots.start()
        watch.start()
        upkeep.start()
        member.start()

        def turn() -> None:
            loop.turn()
            # Between two turns: the databases are at their last commit.
            if snapshots.turn() | shadows.turn(member.orders()) | former.turn(member.orders()):
                chores.again()

        return self._turn(loop, turn, tasks=tasks, upkeep=upkeep)

    def _turn(self, loop: Loop, turn: Callable[[], None], *, tasks: TaskSet, upkeep: Upkeep) -> int:
        """Turn until stopped. Whatever ends it, the tasks are closed before the worker leaves, so
        that nobody gets a task which is still open here."""
        failed = False
        try:
            while not self._stopping.is_set():
                turn()
                failed = bool(failures := tasks.failures)
                if failures and len(failures) == len(tasks.owned):
                    # Nothing is left to do here: say why, rather than look alive.
                    raise _ended_by(next(iter(failures.values())))
                if upkeep.failure is not None:
                    raise upkeep.failure
        except StreamerError as error:
            # What is open is of a layout that does not hold any more: the next one does it again.
            loop.close(commits=not isinstance(error, LayoutChangedError))
            raise
        except BaseException:
            loop.close(commits=False)
            raise
        loop.close(commits=True)
        return 1 if failed else 0

    def _tasks(
        self,
        planned: Partitions,
        reader: InputConsumer,
        output: WorkerOutput,
        *,
        closing: ExitStack,
    ) -> TaskSet:
        parts = budget(self.config)
        pool = MemoryPool(parts.block_cache_bytes, parts.write_buffers_bytes)
        restorer = Restorer(self.config, pool, delete_retention_ms=self._delete_retention_ms)
        closing.callback(restorer.close)
        plan = Plan(
            topology=self._topology,
            config=self.config,
            output=output,
            wall_time_ms=self._clock.now_ms,
            recent_bytes=parts.recent_rows_bytes,
            layout=planned.layout,
            ahead=read_ahead(self.config, planned, closing),
            limits=self._followed.limits if self._followed else None,
            lead=self._follows.group if self._follows else "",
            interval=self._follows.interval if self._follows else None,
        )
        around = KafkaSurroundings(
            self.config,
            lambda task, path: look_inside(task, path, plan, pool=pool),
            delete_retention_ms=self._delete_retention_ms,
            clock=self._clock,
            pace=self._pace,
            layout=planned.layout,
        )
        bootstraps = Bootstraps(around, self.config.bootstrap_parallel)
        closing.callback(around.close)
        closing.callback(bootstraps.close)
        return TaskSet(
            plan,
            planned,
            directory=self._directory,
            pool=pool,
            reader=reader,
            restorer=restorer,
            bootstraps=bootstraps,
        )

    def _producer(self, planned: Partitions) -> WorkerProducer | AtLeastOnceProducer:
        written = written_topics(self._topology, planned, self.config)
        return _producer(self.config, written, stopping=self._stopping)

    def _member(self, planned: Partitions, address: str) -> Member | Solo:
        kind = Solo if self._solo else Member
        return kind(
            self.config,
            work=Work.of(self._topology, planned.tasks, self.config, layout=planned.layout),
            clock=self._clock,
            address=address,
            stopping=self._stopping,
            candidate=self._candidate,
        )


def _is_newer(config: Config, than: int, *, stopping: threading.Event) -> bool:
    recorded = current_layout(config, Admin(config, stopping=stopping))
    return recorded is not None and recorded.number > than


def _ended_by(failure: StreamerError) -> StreamerError:
    """What a worker ends with whose tasks have all stopped. It has run, so it does not end as one
    that refuses to start: whoever runs several workers starts it again, and lets the others be."""
    if not isinstance(failure, UsageError):
        return failure
    ended = StreamerError(str(failure), hint=failure.hint)
    ended.__cause__ = failure
    return ended


def _leave(member: Member | Solo, *ended: object) -> None:
    """`ended` is what an error is told by, its class first."""
    failpoints.hit("worker.before_leave")
    member.leave(timeout_s=_LEAVE_S, begins_anew=ended[0] is LayoutChangedError)


def _producer(
    config: Config, written: list[str], *, stopping: threading.Event
) -> WorkerProducer | AtLeastOnceProducer:
    """A new one, which fences whoever had the worker's id before."""
    kind = WorkerProducer if config.exactly_once else AtLeastOnceProducer
    admin = Admin(config)
    producer = kind(
        config,
        transactional_id(config.application_id, config.worker_id or ""),
        limits=lambda: admin.message_limits(written),
        stopping=stopping,
    )
    producer.init(written[0] if written else "")
    return producer
