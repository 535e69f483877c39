"""The thread that restores tasks and keeps standbys, many at a time, beside processing.

The worker starts and cancels restores and asks what has finished; it never waits, except in
`cancel`, until the batch in hand is written. A failure ends the restore of one task alone.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping

from streamer.clock import Clock, SystemClock
from streamer.config import Budget, Config, budget
from streamer.errors import InvariantError, StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import ChangelogConsumer
from streamer.restore.loop import RestoreLoop
from streamer.restore.progress import RestoreProgress
from streamer.restore.task import TaskRestore
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase

__all__ = ["Restorer"]

_log = logging.getLogger(__name__)

REST_S_MAX = 0.05
_HELD_S = 0.02


class Restorer:
    """Restores tasks in a thread of its own, which begins with the first one.

    `beside_processing` says whether tasks of this worker run: restores then take less memory, and
    rest for as long as they had to wait for the interpreter, so that processing has two thirds.
    A state that is older than `delete_retention_ms`, as changelogs have it, is not continued.
    """

    def __init__(
        self,
        config: Config,
        pool: MemoryPool,
        *,
        delete_retention_ms: int,
        clock: Clock | None = None,
        is_apart: bool = False,
    ) -> None:
        """Apart are tasks of another layout than the worker runs: there are others of their names,
        so metrics and the log call them by their directories."""
        self._is_apart = is_apart
        self.beside_processing = False
        self.held: frozenset[TaskId] = frozenset()
        """Nothing is read for these, where they are all there is."""
        self._config = config
        self._clock = clock or SystemClock()
        self._delete_retention_ms = delete_retention_ms
        # Until tasks run, all memory for records and results is free, and each row that is replaced
        # before it is written costs half; later a part of the memtables' is.
        self._alone_bytes = _for_records(budget(config))
        self._beside_bytes = pool.write_buffer_bytes // 4
        self._restores: dict[TaskId, TaskRestore] = {}
        self._ended: queue.SimpleQueue[TaskRestore] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[Callable[[RestoreLoop], None]] = queue.SimpleQueue()
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self._standby: ChangelogConsumer | None = None

    # -- for the worker ------------------------------------------------------------------------

    def start(
        self, task: TaskId, database: TaskDatabase, changelogs: Mapping[str, TopicPartition]
    ) -> None:
        """Begin to restore a task's stores, each from its changelog. Returns at once.

        Nobody else may write to the database until the task is in `finished` or was cancelled.
        """
        restore = TaskRestore(task, database, dict(changelogs))
        self._begin(restore, lambda loop: loop.add(restore))

    def follow(
        self, task: TaskId, database: TaskDatabase, changelogs: Mapping[str, TopicPartition]
    ) -> None:
        """Begin to keep a copy of a task's stores: restored, and then for ever brought up to date,
        until it is promoted or cancelled. Returns at once.

        What was committed is in the database about a second later, with the positions after it.
        The database is the restorer's as with `start`; others may read it. A copy that cannot be
        kept is in `finished`, with the error; one that is well never is.
        """
        label = database.directory.name if self._is_apart else ""
        restore = TaskRestore(task, database, dict(changelogs), is_standby=True, label=label)
        if self._standby is None:
            # Made here, so that wrong settings are this call's error.
            self._standby = ChangelogConsumer(self._config, standby=True)
        second = self._standby
        self._begin(restore, lambda loop: loop.follow(restore, second))

    def promote(self, task: TaskId) -> None:
        """Have a copy read to the ends of its changelogs as they are at this call or later, open
        transactions included, and end as a restore does that was started with `start`: it is in
        `finished`, and the database is the caller's. Returns at once.

        `progress` counts from now on. One that still is in its first restore goes on with it, and
        nothing is read twice; a task that is restored already is left as it is. Whoever wrote the
        changelogs was fenced before, else they grow on, and an open transaction is waited for.
        """
        restore = self._restores.get(task)
        if restore is None:
            raise InvariantError(f"task {task} is promoted, but nobody follows it")
        if restore.is_standby:
            restore.is_asked_for = True
            self._commands.put(lambda loop: loop.promote(restore))

    def lag(self, task: TaskId) -> int | None:
        """How many offsets a copy has yet to read; None before the ends are known, and when nobody
        follows the task any more. May be asked by any thread; costs no request.

        The ends are high watermarks, a second old while brokers answer, else the last that were
        known. So an open transaction counts as a whole until it ends, and the markers after it
        until the reader is told that it stands behind them, a moment later: then the lag is 0.
        While the application runs there always is an open transaction, and the lag is its part.
        Rows that were read may take a second more to be in the database.
        """
        restore = self._restores.get(task)
        return None if restore is None else restore.lag()

    def is_current(self, task: TaskId) -> bool:
        """Whether a copy has all that was committed a moment ago: what its lag counts beyond that
        is of a transaction that is still open. False where the ends were not heard of for long. May
        be asked by any thread."""
        restore = self._restores.get(task)
        return restore is not None and restore.is_current(self._clock.monotonic_ms())

    def age_ms(self, task: TaskId) -> int | None:
        """How long ago, at most, a copy's lag was as it is told; None where none is. While it reads
        nothing new it grows up to a minute. May be asked by any thread."""
        restore = self._restores.get(task)
        return None if restore is None else restore.age_ms(self._clock.monotonic_ms())

    def durable(self, task: TaskId) -> dict[str, int]:
        """The positions in its changelogs, by store, that the disk has: what was saved. Nothing
        before a restore has begun to read. May be asked by any thread."""
        restore = self._restores.get(task)
        return {} if restore is None else restore.durable()

    def progress(self, task: TaskId) -> RestoreProgress:
        """Also after the end, until the task is cancelled or started anew. Of a copy that follows:
        what its lag is."""
        restore = self._restores.get(task)
        return RestoreProgress() if restore is None else restore.progress()

    def finished(self) -> list[tuple[TaskId, StreamerError | None]]:
        """Tasks whose restore has ended since the last call, with what went wrong; also copies
        that failed while they followed. One that failed before it was promoted is restored."""
        ended: list[tuple[TaskId, StreamerError | None]] = []
        while True:
            try:
                restore = self._ended.get_nowait()
            except queue.Empty:
                return ended
            # One that was cancelled or started anew since is not news any more.
            if self._restores.get(restore.task) is not restore:
                continue
            if restore.is_standby and restore.is_asked_for:
                # It failed as a copy, before it was told that it is to be promoted. That is no
                # reason not to restore the task, as it is where nobody had asked yet.
                _log.warning("task %s: its copy has failed: %s", restore.task, restore.error)
                self.start(restore.task, restore.database, restore.changelogs)
            else:
                ended.append((restore.task, restore.error))

    def cancel(self, *tasks: TaskId) -> None:
        """Stop restores, or to follow, at a batch boundary. The state stays, with the position it
        has reached.

        Afterwards the databases are the caller's again. Nothing happens for tasks that are unknown.
        Many are cancelled in one call, which waits as long as for one.
        """
        found = [one for task in tasks if (one := self._restores.pop(task, None)) is not None]

        def act(loop: RestoreLoop) -> None:
            for restore in found:
                loop.cancel(restore)

        if found and self._thread is not None:
            self._ask(act)

    def close(self) -> None:
        """Cancel all restores and end the thread. Idempotent."""
        self._restores.clear()
        thread, self._thread = self._thread, None
        if thread is not None:
            self._is_closing = True
            self._commands.put(lambda loop: None)
            thread.join()

    def _begin(self, restore: TaskRestore, command: Callable[[RestoreLoop], None]) -> None:
        self._restores[restore.task] = restore
        self._commands.put(command)
        if self._thread is None:
            # Made here, so that wrong settings are this call's error.
            consumer = ChangelogConsumer(self._config)
            self._thread = threading.Thread(
                target=self._run, args=(consumer,), name="restore", daemon=True
            )
            self._thread.start()

    def _ask(self, command: Callable[[RestoreLoop], None]) -> None:
        """Have the thread do something, and wait until it is done."""
        done = threading.Event()

        def act(loop: RestoreLoop) -> None:
            try:
                command(loop)
            finally:
                done.set()

        self._commands.put(act)
        while not done.wait(0.1):
            if self._thread is None or not self._thread.is_alive():
                return

    # -- the thread ----------------------------------------------------------------------------

    def _run(self, consumer: ChangelogConsumer) -> None:
        loop = RestoreLoop(
            consumer,
            self._ended.put,
            clock=self._clock,
            delete_retention_ms=self._delete_retention_ms,
        )
        while not self._is_closing:
            try:
                self._turn(loop)
            except Exception as error:
                # Nobody else would notice: the thread goes on, and the worker learns why.
                _log.exception("restoring failed")
                loop.fail_all(_as_ours(error))
        loop.close()

    def _turn(self, loop: RestoreLoop) -> None:
        self._commands_to(loop)
        if self._is_closing or loop.is_idle:
            return
        if loop.tasks <= self.held:
            time.sleep(_HELD_S)
            return
        fetched = loop.fetch()
        began_s, worked_s = time.monotonic(), time.thread_time()
        loop.apply(fetched, self._beside_bytes if self.beside_processing else self._alone_bytes)
        if self.beside_processing:
            worked_s = time.thread_time() - worked_s
            time.sleep(min(max(time.monotonic() - began_s - worked_s, 0.0), REST_S_MAX))

    def _commands_to(self, loop: RestoreLoop) -> None:
        """Carry out what was asked for; wait for something when there is nothing to do."""
        while True:
            try:
                command = self._commands.get(block=loop.is_idle)
            except queue.Empty:
                return
            command(loop)
            if self._is_closing:
                return


def _for_records(parts: Budget) -> int:
    """What nobody uses before a task processes."""
    queues = parts.input_queue_bytes + parts.producer_queue_bytes
    batches = parts.batch_bytes + parts.waiting_bytes
    # Not of RocksDB's cache: a worker that has copies alone answers queries from them.
    return parts.record_cache_bytes + parts.recent_rows_bytes + batches + queues


def _as_ours(error: Exception) -> StreamerError:
    if isinstance(error, StreamerError):
        return error
    wrapped = StreamerError(
        f"restoring failed: {type(error).__name__}: {error}",
        hint="the log has the trace; the state is kept, start the worker again to go on",
    )
    wrapped.__cause__ = error
    return wrapped
