"""Snapshots of the tasks that run here, on demand and on schedule, while they go on processing.

    look     is it there already?                                          thread
    settle   one commit, which puts the exact positions into the database  loop
    flush    memtables become files, so that the next is quick             thread
    link     the checkpoint, between two turns of the loop; where a        loop
             commit was sooner, they are flushed once more before
    send     to the repository, by a process of its own; then verified     thread
             and noted; the checkpoint goes

One at a time, so that neither the disk nor the network has much to do with it. The database is
written by commits alone: between two turns its rows and positions are those of the last one, and
what was processed since is not in it. A task that is closed, fails or is fenced before its
checkpoint is made loses the job; a checkpoint that is made is of committed state, and is sent.
"""

from __future__ import annotations

import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from streamer import failpoints, metrics
from streamer.changelog.format import Positions
from streamer.clock import Clock
from streamer.closable import Closable
from streamer.config import Config
from streamer.control.messages import ChoreReport
from streamer.control.orders import Order, RebuildOrder, SnapshotOrder
from streamer.errors import StoppedError, StreamerError, TaskMigratedError
from streamer.ids import TaskId
from streamer.snapshot.apart import Make, make_apart
from streamer.snapshot.create import About
from streamer.snapshot.manifest import Position
from streamer.snapshot.pace import Pace
from streamer.store.directory import WorkerDirectory
from streamer.store.schema import FORMAT
from streamer.task.active import ActiveTask
from streamer.worker.agenda import Agenda, Want
from streamer.worker.making import Found, Maker, Sending, describe
from streamer.worker.tasks import TaskSet

__all__ = ["Snapshots"]

_log = logging.getLogger(__name__)

Stage = Literal["look", "settle", "flush", "link", "send", "over"]

# A turn may take less than a millisecond; nobody waits for a snapshot that begins 20 ms later.
_LOOK_MS = 20
# A commit between the flush and the checkpoint makes the latter slow: 3 to 50 times on a busy disk.
# One that commits faster than its disk flushes has to wait for it then.
_FLUSHES_MAX = 5
_AGES_MS = 1_000
_CLOSE_S = 5.0


@dataclass(slots=True)
class _Job:
    """One snapshot. A stage belongs to one thread, which names the next one as its last act."""

    want: Want
    active: ActiveTask
    directory: Path
    stage: Stage = "look"
    is_settling: bool = False
    flushes: int = 0
    is_dropped: bool = False
    sending: Sending | None = None
    found: Found | None = None
    error: Exception | None = None


class Snapshots(Closable):
    """`turn` is called by the loop's thread between turns; everything slow has its own. `pace` is
    what limits all that this process moves."""

    def __init__(
        self,
        config: Config,
        tasks: TaskSet,
        orders: Callable[[], tuple[Order, ...]],
        *,
        directory: WorkerDirectory,
        clock: Clock,
        pace: Pace | None = None,
        make: Make = make_apart,
    ) -> None:
        self.chores: Mapping[TaskId, ChoreReport] = {}
        """What became of the order that a task is busy with, for each that runs here."""
        self._config = config
        self._tasks = tasks
        self._orders = orders
        self._heard: tuple[Order, ...] | None = None
        self._directory = directory
        self._clock = clock
        self._agenda = Agenda(config.snapshot_interval_ms)
        self._maker = Maker(config, pace, make, layout=directory.layout)
        self._job: _Job | None = None
        self._looked_ms = self._aged_ms = clock.monotonic_ms() - _AGES_MS
        self._stopping = threading.Event()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="streamer-snapshots", daemon=True)

    def start(self) -> None:
        """Remove what a process that was killed has left, and be ready."""
        if self._directory.checkpoints.exists():
            _log.info("removing checkpoints of snapshots that were not finished")
            shutil.rmtree(self._directory.checkpoints, ignore_errors=True)
        self._thread.start()

    def close(self) -> None:
        """Give up what is under way: the next start begins it again, with what was sent."""
        self._stopping.set()
        self._jobs.put(None)
        # It may wait for a repository that is away.
        self._maker.close()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)

    # -- the loop's thread -----------------------------------------------------------------------

    def turn(self) -> bool:
        """Do what has to be done between two turns. Returns whether others should hear of it."""
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._looked_ms < _LOOK_MS:
            return False
        self._looked_ms = now_ms
        every = {active.task: active for active in self._tasks.running}
        running = {task: active for task, active in every.items() if active.changelogs}
        self._follow()
        self._agenda.only(running)
        if self._job is not None:
            self._advance(self._job, running)
        if self._job is None:
            self._begin(running)
        if now_ms - self._aged_ms >= _AGES_MS:
            self._aged_ms = now_ms
            self._show_ages(running)
        return self._tell(every, running)

    def _follow(self) -> None:
        """Tell the agenda what stands. What an order asks for may be what the settings say anyway;
        and what another worker is fetching by now is made, so it keeps nothing else waiting."""
        orders = self._orders()
        if orders is self._heard:
            return
        self._heard = orders
        fetching = {one.operation for one in orders if isinstance(one, RebuildOrder)}
        own = self._config.snapshot_repository
        self._agenda.follow(
            *(
                replace(one, repository="") if one.repository == own else one
                for one in orders
                if isinstance(one, SnapshotOrder) and one.operation not in fetching
            )
        )

    def _begin(self, running: Mapping[TaskId, ActiveTask]) -> None:
        want = self._agenda.next(running, self._clock.now_ms())
        if want is not None:
            directory = self._directory.checkpoints / str(want.task)
            self._job = _Job(want, running[want.task], directory)
            self._jobs.put(self._job)

    def _advance(self, job: _Job, running: Mapping[TaskId, ActiveTask]) -> None:
        if not self._agenda.is_ordered(job.want):
            job.is_dropped = True
        if job.stage == "over":
            self._end(job)
        elif job.stage in ("settle", "link"):
            if job.is_dropped or running.get(job.want.task) is not job.active:
                self._job = None
            elif job.stage == "link":
                self._link(job)
            elif not job.is_settling:
                # The next commit writes the positions again, also where nothing else has changed.
                job.is_settling = job.active.refresh_positions = True
            elif not job.active.refresh_positions:
                self._hand_over(job, "flush")

    def _link(self, job: _Job) -> None:
        try:
            job.flushes += 1
            if job.flushes < _FLUSHES_MAX and job.active.database.memtable_rows():
                self._hand_over(job, "flush")
                return
            self._checkpoint(job)
        except StreamerError as error:
            job.error = error
            self._end(job)
            return
        failpoints.hit("checkpoint.after_make")
        self._hand_over(job, "send")

    def _checkpoint(self, job: _Job) -> None:
        failpoints.hit("checkpoint.before_make")
        began = time.perf_counter()
        try:
            job.sending = Sending(
                job.want,
                job.directory,
                self._directory.digests(job.want.task),
                self._about(job),
                lambda: job.is_dropped or self._stopping.is_set(),
            )
            job.active.database.checkpoint(job.directory)
        finally:
            metrics.snapshot_checkpoint_seconds.observe(time.perf_counter() - began)

    def _about(self, job: _Job) -> About:
        """What the database says of itself, and the positions that the group has committed."""
        active, stored = job.active, Positions.decode(job.active.database.metadata())
        return About(
            created_ms=self._clock.now_ms(),
            created_by=self._directory.worker_id,
            store_format=FORMAT.decode(),
            stores={name: spec.kind.value for name, spec in active.database.specs.items()},
            changelog=tuple(
                Position(
                    place.topic,
                    place.partition,
                    stored.changelogs.get(store, 0),
                    stored.topic_ids.get(store, ""),
                )
                for store, place in active.changelogs.items()
            ),
            input=tuple(
                Position(place.topic, place.partition, at) for place, at in active.committed.items()
            ),
            operation=job.want.operation,
        )

    def _hand_over(self, job: _Job, stage: Stage) -> None:
        job.stage = stage
        self._jobs.put(job)

    def _end(self, job: _Job) -> None:
        """Take note of what became of it."""
        self._job = None
        want, error = job.want, job.error
        if job.found is not None:
            self._agenda.learnt(want.task, job.found.newest_ms)
            if job.found.made:
                self._agenda.made(want, job.found.made, job.found.newest_ms)
        if error is None or isinstance(error, StoppedError | TaskMigratedError):
            return
        pause_ms = self._agenda.failed(want, describe(error), self._clock.now_ms())
        metrics.snapshot_failures.labels(str(want.task)).inc()
        _log.warning(
            "task %s: no snapshot could be made, trying again in %d s: %s",
            want.task,
            pause_ms // 1000,
            error.describe() if isinstance(error, StreamerError) else error,
        )

    def _tell(
        self, every: Mapping[TaskId, ActiveTask], running: Mapping[TaskId, ActiveTask]
    ) -> bool:
        before = self.chores
        working: dict[TaskId, ChoreReport] = {}
        if (job := self._job) is not None and job.want.operation:
            progress = job.sending.progress if job.sending else None
            working[job.want.task] = ChoreReport(
                operation=job.want.operation,
                state="working",
                bytes_done=progress.bytes_done if progress else 0,
                bytes_total=progress.bytes_total if progress else 0,
                phase=progress.phase if progress else "",
            )
        chores = self._agenda.chores(running, working)
        for task in every.keys() - running.keys():
            if (order := self._agenda.order_of(task)) is not None:
                chores[task] = ChoreReport(
                    operation=order.operation, state="done", why="it has no stores"
                )
        self.chores = chores
        return _states(before) != _states(chores)

    def _show_ages(self, running: Mapping[TaskId, ActiveTask]) -> None:
        now_ms = self._clock.now_ms()
        for task in running:
            newest_ms = self._agenda.newest_ms(task)
            if newest_ms is not None and newest_ms >= 0:
                age_s = max(now_ms - newest_ms, 0) / 1000
                metrics.snapshot_age_seconds.labels(str(task)).set(age_s)

    # -- the other thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set() and (job := self._jobs.get()) is not None:
            try:
                job.stage = self._work(job)
            except Exception as error:
                if not isinstance(error, StreamerError):
                    _log.exception("task %s: the snapshot has failed", job.want.task)
                if not isinstance(error, StoppedError | TaskMigratedError):
                    self._maker.forget()
                job.error = error
                job.stage = "over"

    def _work(self, job: _Job) -> Stage:
        """Do what the stage asks for; the next one."""
        if job.stage == "look":
            found = self._maker.look(job.want, self._clock.now_ms())
            if found.made or not (job.want.operation or self._is_due(job, found)):
                job.found = found
                return "over"
            return "settle"
        if job.stage == "flush":
            self._maker.flush(job.active.database, job.directory)
            return "link"
        assert job.sending is not None
        made = self._maker.send(job.sending)
        job.found = Found(made.id, made.created_ms)
        return "over"

    def _is_due(self, job: _Job, found: Found) -> bool:
        known = Agenda(self._config.snapshot_interval_ms)
        known.learnt(job.want.task, found.newest_ms)
        return known.is_due(job.want.task, self._clock.now_ms())


def _states(chores: Mapping[TaskId, ChoreReport]) -> dict[TaskId, tuple[str, str]]:
    return {task: (chore.operation, chore.state) for task, chore in chores.items()}
