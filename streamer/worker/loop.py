"""The worker's loop: follow the assignment, read, process, commit.

    assignment -> fetch -> process -> (commit | abort and read again) -> restored tasks -> report

One thread does all of it; membership, restores and HTTP have threads of their own, so neither slow
user code nor a long restore costs the worker its place in the group. What goes wrong in one task
halts that task alone: the open transaction is aborted, and the others do their part again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from streamer import metrics
from streamer.clock import Clock
from streamer.cluster.member import Desired
from streamer.config import Config, budget
from streamer.control.messages import StandbyReport, TaskReport
from streamer.control.orders import Order
from streamer.errors import (
    RAISED_BY_USERS,
    FencedError,
    KafkaUnavailableError,
    ProcessingError,
    RegistryUnavailableError,
    StreamerError,
)
from streamer.ids import TaskId
from streamer.kafka.api import AbortableError, InputReader, ResultProducer
from streamer.task.active import ActiveTask
from streamer.task.commit import TaskFailedError, commit
from streamer.worker.aborts import Aborts
from streamer.worker.appetite import Appetite
from streamer.worker.collector import Collector
from streamer.worker.pace import Pace
from streamer.worker.pausing import Pausing
from streamer.worker.tasks import TaskSet

__all__ = ["Loop", "Membership"]

_log = logging.getLogger(__name__)


class Membership(Protocol):
    """The worker's side of the cluster."""

    def desired(self) -> Desired | None: ...

    def report(
        self,
        seen: int,
        tasks: dict[TaskId, TaskReport],
        standbys: dict[TaskId, StandbyReport],
        *,
        pause: tuple[str, str],
    ) -> None: ...

    def orders(self) -> tuple[Order, ...]: ...

    def rejoin(self) -> None: ...

    def failure(self) -> StreamerError | None: ...


class Loop:
    """A `turn` never blocks for longer than `poll_ms`, a batch's processing and a commit."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        tasks: TaskSet,
        reader: InputReader,
        producer: ResultProducer,
        member: Membership,
        pausing: Pausing,
        held_bytes_max: int,
        renew: Callable[[], None],
        commit_ms: Callable[[], int] | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._tasks = tasks
        self._reader = reader
        self._producer = producer
        self._member = member
        self._pausing = pausing
        self._held_bytes_max = held_bytes_max
        self._renew = renew
        self._commit_ms = commit_ms or (lambda: config.commit_ms)
        self._collector = Collector()
        self._appetite = Appetite(budget(config).batch_bytes, config.max_poll_records)
        self._seen = -1
        self._aborts = Aborts()
        self._is_in_doubt = False
        self._pace = Pace(clock, config.transaction_timeout_ms)
        self._committed_ms = self._refreshed_ms = self.turned_ms = clock.monotonic_ms()
        self._reported_ms = 0
        self._copies: frozenset[TaskId] = frozenset()

    # -- one turn ------------------------------------------------------------------------------

    def turn(self) -> None:
        """One round. Raises what ends the worker."""
        self.turned_ms = self._clock.monotonic_ms()
        if not self._producer.is_open:
            self._pace.begin()
        if failure := self._member.failure():
            raise failure
        try:
            changed = self._follow_assignment()
            changed |= self._tasks.standbys.keep(self._copies)
            self._tasks.bootstrapping.hear(self._member.orders())
            may_read = self._pausing.turn(self._member.desired(), self.commit)
            changed |= self._pausing.is_news()
            # Final results that are left go first, or new ones could come faster than they go.
            if may_read and not any(task.is_closing for task in self._tasks.running):
                self._read()
                self._process()
            if self._is_commit_due():
                self.commit()
            changed |= self._tasks.start_restored()
            self._report(changed)
        except FencedError as error:
            self._rejoin(error)
        self._collector.turn(self._clock.monotonic_ms())

    def _follow_assignment(self) -> bool:
        desired = self._member.desired()
        if desired is None or desired.version == self._seen:
            return False
        owned, standbys = self._tasks.owned, self._tasks.standbys
        lost, gained = owned - desired.tasks, desired.tasks - owned
        if lost:
            self.commit()
            self._tasks.close(lost)
        standbys.close(standbys.tasks - desired.standbys - gained)
        self._tasks.open(gained)
        self._seen, self._copies = desired.version, desired.standbys
        if lost or gained:
            given, taken = _named(lost), _named(gained)
            _log.info("assignment %d: gave up %s, took %s", self._seen, given, taken)
        return True

    # -- records -------------------------------------------------------------------------------

    def _read(self) -> None:
        fetched = self._reader.fetch(self._appetite.records_max, self._wait_ms())
        self._appetite.saw(fetched.batches)
        is_rewound = False
        for partition, error in fetched.failures.items():
            task = self._tasks.reading(partition)
            if task is not None:
                self._halt(task, error)
                is_rewound = True
        if not is_rewound:  # Else what came with the failure comes again.
            self._tasks.take(fetched, self._clock.monotonic_ms())

    def _wait_ms(self) -> int:
        """How long the fetch may wait: not beyond the next commit."""
        if not self._has_uncommitted():
            return self._tasks.poll_ms
        due = self._committed_ms + self._commit_ms() - self._clock.monotonic_ms()
        return min(max(due, 0), self._tasks.poll_ms)

    def _process(self) -> None:
        now_ms = self._clock.now_ms()
        began, total = time.perf_counter(), 0
        for task in self._tasks.running:
            if self._producer.is_open and self._is_to_begin_anew(task) and not self.commit():
                return
            since, waiting = time.perf_counter(), task.input.waiting
            try:
                count = task.process(now_ms)
                if task.pipeline.has_punctuation and not self._pausing.number:
                    task.pipeline.punctuate(now_ms)
            except FencedError:
                # Maybe for slow code: unless less is taken the next time, it would be for ever.
                self._pace.note(task.task, seconds := time.perf_counter() - since)
                self._appetite.took(waiting, seconds)
                raise
            except (AbortableError, KafkaUnavailableError) as error:
                self._abort(error)
                return
            except RAISED_BY_USERS as error:
                self._halt(task, _as_streamer_error(error, task))
                return
            if count:
                metrics.records_processed.labels(str(task.task)).inc(count)
                self._pace.note(task.task, time.perf_counter() - since)
                total += count
        if total:
            self._appetite.took(total, time.perf_counter() - began)
        self._tasks.balance_input()

    def _is_to_begin_anew(self, task: ActiveTask) -> bool:
        """Whether to commit before this task's turn: the broker would end a transaction that stays
        open while slow code runs, and so fence this worker each time."""
        if not self._producer.is_transactional or not task.input.waiting:
            return False
        return task.task in self._pace.slow or self._pace.is_over()

    # -- the commit ----------------------------------------------------------------------------

    def _is_commit_due(self) -> bool:
        now_ms, running = self._clock.monotonic_ms(), self._tasks.running
        if now_ms - self._refreshed_ms >= self._config.offsets_refresh_ms:
            self._refreshed_ms = now_ms
            for task in running:
                task.refresh_positions = True
        held_bytes = sum(task.pipeline.held_bytes for task in running)
        is_due = held_bytes >= self._held_bytes_max or any(task.is_closing for task in running)
        if not is_due and now_ms - self._committed_ms < self._commit_ms():
            return False
        return self._has_uncommitted()

    def _has_uncommitted(self) -> bool:
        # Punctuation may have sent results without any record: then only a transaction is open.
        return self._producer.is_open or any(task.needs_commit for task in self._tasks.running)

    def commit(self) -> bool:
        """Commit what was done since the last time, or abort it and have it done again. Returns
        whether all of it is committed and stored."""
        began = time.perf_counter()
        running = [task for task in self._tasks.running if task.needs_commit]
        self._committed_ms = self._clock.monotonic_ms()
        if not running and not self._producer.is_open:
            return True
        try:
            late, now_ms = self._pace.is_over, self._clock.now_ms()
            failures = commit(running, self._producer, self._reader, now_ms=now_ms, is_late=late)
        except TaskFailedError as failed:
            self._halt(failed.task, failed.error)
            return False
        except (AbortableError, RegistryUnavailableError) as error:
            self._abort(error)
            return False
        except StreamerError:
            # What became of the transaction is not known: the next owner of its id will see.
            self._is_in_doubt = True
            raise
        self._aborts.over()
        for task, failure in failures.items():
            self._tasks.fail(task, failure)
        metrics.commits.inc()
        metrics.commit_seconds.observe(time.perf_counter() - began)
        self._committed_ms = self._clock.monotonic_ms()
        self._pace.begin()
        self._collector.after_commit()
        return not failures

    def _abort(self, reason: StreamerError) -> None:
        """Take back everything since the last commit; it is processed again."""
        self._producer.abort()
        self._tasks.rewind()
        self._aborts.note(reason)

    def _halt(self, task: ActiveTask, error: StreamerError) -> None:
        """Stop one task. The transaction holds its work too, so it is aborted as a whole."""
        if self._producer.is_open:
            self._producer.abort()
            metrics.transaction_aborts.inc()
        self._tasks.fail(task, error)
        self._tasks.rewind()

    # -- the cluster ---------------------------------------------------------------------------

    def _rejoin(self, error: FencedError) -> None:
        """Another worker has this one's tasks now: forget everything uncommitted, join anew."""
        _log.warning("fenced, dropping all tasks and joining again: %s", error)
        metrics.fenced.inc()
        for task in self._tasks.running:
            task.abort()
        self._tasks.close(self._tasks.owned)
        self._producer.close()
        if failure := self._member.failure():
            raise failure  # Replaced for good: taking the id back would fence the successor.
        self._renew()
        self._is_in_doubt = False
        self._pausing.begin()
        self._seen = -1
        self._member.rejoin()
        self._report(True)

    def _report(self, changed: bool) -> None:
        standbys = self._tasks.standbys
        changed |= standbys.has_warmed(self._config.acceptable_recovery_lag)
        now_ms = self._clock.monotonic_ms()
        if changed or now_ms - self._reported_ms >= self._config.status_interval_ms:
            self._reported_ms = now_ms
            said = self._tasks.reports(), standbys.reports()
            self._member.report(max(self._seen, 0), *said, pause=self._pausing.told)

    def close(self, *, commits: bool) -> None:
        """Close every task and say so; others take over at once. What was processed is committed
        with `commits`, else processed again."""
        is_settled = not self._is_in_doubt
        try:
            if is_settled and commits:
                self.commit()
            elif is_settled and self._producer.is_open:
                self._producer.abort()
        except StreamerError as error:
            _log.warning("the last commit failed, its records are processed again: %s", error)
            is_settled = False
        for task in self._tasks.running:
            task.abort()
        self._tasks.close(self._tasks.owned)
        if is_settled:  # Unsaid, the controller fences first, which ends an open transaction.
            self._report(True)
        self._tasks.standbys.close(self._tasks.standbys.tasks)  # Nobody waits for these.
        self._producer.close()
        self._collector.restore()


def _as_streamer_error(error: BaseException, task: ActiveTask) -> StreamerError:
    if isinstance(error, StreamerError):
        return error
    problem = ProcessingError(
        f"{type(error).__name__} in task {task.task}: {error}",
        hint="user code outside a record's processing raised, such as a punctuation",
    )
    problem.__cause__ = error
    return problem


def _named(tasks: frozenset[TaskId]) -> str:
    return ", ".join(str(task) for task in sorted(tasks)) or "none"
