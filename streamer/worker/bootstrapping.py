"""Which tasks and copies of this worker are made from a snapshot, as its main thread sees it.

    opened -> how much is to be read? -> little: it is read
                  | much, or it cannot be
                  v
    a bootstrap looks, while the restore rests -> another way is sooner: the restore goes on
                  | fetches: the restore is cut short, at a batch boundary
                  v
    fetched -> close the database, exchange its files, open it, restore the rest
                  | it serves
                  v
    the former directory is removed

Nothing waits for it: the loop turns, and asks each time what has ended. A task that is taken away
or promoted meanwhile loses nothing, since what was fetched stays in the staging directory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from streamer import metrics
from streamer.config import Config
from streamer.control.messages import ChoreReport
from streamer.control.orders import Order
from streamer.errors import (
    ChangelogTrimmedError,
    KafkaUnavailableError,
    RepositoryError,
    StateOutdatedError,
    StreamerError,
)
from streamer.ids import TaskId
from streamer.log import task_context
from streamer.restore import Restorer
from streamer.restore.bootstrap import Bootstrap, Phase, Wanted
from streamer.restore.bootstraps import Bootstraps
from streamer.restore.choice import Way
from streamer.restore.progress import RestoreProgress
from streamer.worker.exchange import exchange
from streamer.worker.rebuilds import Rebuilds
from streamer.worker.remains import Remains
from streamer.worker.roles import Roles
from streamer.worker.telling import Telling, chore_of

__all__ = ["Bootstrapping"]

_log = logging.getLogger(__name__)

# A repository that is away is asked again, since nothing else brings such a task back.
RETRY_S = 30.0
# How often in a row a state that was just brought may turn out to be behind a trim before it is an
# error.
RESCUES_MAX = 3
# A repository that does not answer for so long is looked at beside the restore.
HOLD_S = 10.0


@dataclass(slots=True, eq=False)
class _Effort:
    """`cause` is why its restore has ended, None where it goes on; `is_paused` once it was cut
    short for the fetch."""

    bootstrap: Bootstrap
    cause: StreamerError | None = None
    rebuild: str = ""
    is_paused: bool = False
    began_s: float = field(default_factory=time.monotonic)

    @property
    def is_decided(self) -> bool:
        """Whether it does not depend any more on how far the restore is."""
        return self.is_paused or self.cause is not None or bool(self.rebuild)

    def holds(self, now_s: float) -> bool:
        """Whether the restore is to rest: it would take the core from who looks, and what it reads
        meanwhile is thrown away where a snapshot is found."""
        is_looking = self.bootstrap.phase is Phase.LOOKING and not self.is_decided
        return is_looking and now_s - self.began_s < HOLD_S


class _Rescues:
    """Counts in a row, by task. A state that was read on from, or serves, was brought for good: a
    copy that lives for months may fall behind more often than it may be brought in vain."""

    def __init__(self) -> None:
        self.counts: dict[TaskId, int] = {}

    def may_begin(self, task: TaskId, last: RestoreProgress) -> bool:
        """Whether one more may be tried, after a restore that has come so far."""
        before = 0 if last.restored_records else self.counts.get(task, 0)
        self.counts[task] = before + 1
        return self.counts[task] <= RESCUES_MAX

    def settle(self, is_serving: Callable[[TaskId], bool]) -> None:
        for task in [task for task in self.counts if is_serving(task)]:
            del self.counts[task]


class Bootstrapping:
    """Used by the main thread alone. Without a `pool` it does nothing."""

    def __init__(
        self,
        roles: Roles,
        wants: Callable[[TaskId, int | None], Wanted],
        *,
        restorer: Restorer,
        config: Config,
        pool: Bootstraps | None,
    ) -> None:
        self._roles = roles
        self._wants = wants
        self._restorer = restorer
        self._config = config
        self._pool = pool
        self._has_repository = pool is not None and bool(config.snapshot_repository)
        self._efforts: dict[TaskId, _Effort] = {}
        self._undecided: set[TaskId] = set()
        self._rescues = _Rescues()
        self._retries: dict[TaskId, tuple[float, StreamerError]] = {}
        self._remains = Remains()
        self._rebuilds = Rebuilds(config)
        self._telling = Telling()

    # -- what happens to tasks -------------------------------------------------------------------

    def opened(self, task: TaskId, directory: Path) -> None:
        """A database was opened, and its restore begun."""
        if self._pool is None:
            return
        self._remains.opened(task, directory)
        if self._has_repository and self._config.bootstrap_from == "auto":
            self._undecided.add(task)

    def is_paused(self, task: TaskId) -> bool:
        """Whether nobody restores it or follows, for it is fetched."""
        effort = self._efforts.get(task)
        is_cut = effort is not None and effort.is_decided and not effort.rebuild
        return is_cut or task in self._retries

    def promoted(self, task: TaskId) -> None:
        """A copy is to process. A rebuild of it would hold that up."""
        effort = self._efforts.get(task)
        if effort is not None and effort.rebuild:
            self._drop(task)
            self._rebuilds.fail(task, _ACTIVE.format(task=task))

    def rescues(self, task: TaskId, error: StreamerError) -> bool:
        """Whether a restore that has ended with this is not over: a snapshot is looked for."""
        if not (self._has_repository and _is_rescuable(error, self._config)):
            return False
        if not self._rescues.may_begin(task, self._restorer.progress(task)):
            return False
        self._undecided.discard(task)
        effort = self._efforts.get(task)
        if effort is not None and not effort.rebuild and effort.bootstrap.is_fetching:
            effort.cause = error
        else:
            # One that still looks goes by a state that could be continued.
            self._drop(task)
            self._rescue(task, error)
        return True

    def forget(self, task: TaskId) -> None:
        """It is closed."""
        self._drop(task)
        self._undecided.discard(task)
        self._retries.pop(task, None)
        self._rescues.counts.pop(task, None)
        self._remains.forget(task)

    def hear(self, orders: tuple[Order, ...]) -> None:
        """What workers are asked to do at present."""
        self._rebuilds.hear(orders)

    def chore(self, task: TaskId) -> ChoreReport | None:
        """What is being done, or was done last; of an order first, for which somebody waits."""
        effort, stands = self._efforts.get(task), self._rebuilds.stands(task)
        if effort is not None and (effort.rebuild or not stands):
            return chore_of(effort.bootstrap)
        if task in self._retries and not stands:
            return ChoreReport(operation="", state="waiting", why=str(self._retries[task][1]))
        return self._rebuilds.chore(task, self._remains.notes.get(task))

    # -- the turn --------------------------------------------------------------------------------

    def turn(self) -> bool:
        """Do what is due; whether a task was opened anew or has failed."""
        if self._pool is None:
            return False
        self._decide()
        self._follow_orders(self._pool)
        changed = False
        for task, working in list(self._efforts.items()):
            if working.bootstrap.phase in (Phase.WAITING, Phase.FETCHING):
                self._working(task, working)
        for bootstrap in self._pool.ended():
            task = bootstrap.wanted.task
            effort = self._efforts.get(task)
            if effort is not None and effort.bootstrap is bootstrap:
                del self._efforts[task]
                with task_context(task):
                    self._end(task, effort)
                self._telling.forget(task)
                self._remains.leave(task, bootstrap.wanted.target)
                changed = True
        now_s = time.monotonic()
        for task, (at_s, cause) in list(self._retries.items()):
            # Not in the middle of a rebuild, which may bring it back from elsewhere.
            if now_s >= at_s and task not in self._efforts:
                del self._retries[task]
                self._rescue(task, cause)
        self._restorer.held = _held(self._efforts, now_s)
        self._rescues.settle(self._roles.is_serving)
        self._remains.clean(
            self._pool,
            is_serving=self._roles.is_serving,
            is_wanted=lambda task: task in self._efforts or self._rebuilds.stands(task),
        )
        return changed

    def _decide(self) -> None:
        """Look for a snapshot where the restore has told that there is much to read."""
        for task in list(self._undecided):
            left = self._restorer.progress(task).remaining_offsets
            if left < 0 and self._roles.is_open_for_restore(task):
                continue
            self._undecided.discard(task)
            if left > 0 and self._is_long(left) and task not in self._efforts:
                self._begin(task, _Effort, local_offsets=left)

    def _is_long(self, offsets: int) -> bool:
        """Of an unknown number that is assumed."""
        rate, gain_ms = self._config.bootstrap_records_per_second, self._config.bootstrap_gain_ms
        return offsets < 0 or offsets * 1000 / rate > gain_ms

    def _begin(
        self, task: TaskId, effort: Callable[[Bootstrap], _Effort], *, local_offsets: int | None
    ) -> None:
        assert self._pool is not None
        self._efforts[task] = effort(self._pool.begin(self._wants(task, local_offsets)))

    def _rescue(self, task: TaskId, cause: StreamerError) -> None:
        _log.warning(
            "%s. A snapshot of it is looked for in %s", cause, self._config.snapshot_repository
        )
        self._begin(task, partial(_Effort, cause=cause), local_offsets=None)

    def _drop(self, task: TaskId) -> None:
        effort = self._efforts.pop(task, None)
        if effort is not None and self._pool is not None:
            self._pool.cancel(effort.bootstrap)
            self._telling.forget(task)
            self._remains.leave(task, effort.bootstrap.wanted.target)

    def _working(self, task: TaskId, effort: _Effort) -> None:
        bootstrap = effort.bootstrap
        if bootstrap.is_fetching:
            self._telling.progress(task, bootstrap)
        if effort.is_decided:
            return
        left = self._restorer.progress(task).remaining_offsets
        if not (self._roles.is_open_for_restore(task) and self._is_long(left)):
            # It is there before the snapshot would be.
            self._drop(task)
        elif bootstrap.is_fetching:
            effort.is_paused = True
            self._restorer.cancel(task)
        elif left >= 0:
            bootstrap.left_offsets = left

    # -- ends ------------------------------------------------------------------------------------

    def _end(self, task: TaskId, effort: _Effort) -> None:
        bootstrap = effort.bootstrap
        if bootstrap.error is not None:
            metrics.bootstraps.labels("failed").inc()
            self._failed(task, effort, bootstrap.error)
        elif not self._roles.is_open_for_restore(task):
            return
        elif bootstrap.phase is Phase.CHOSEN:
            metrics.bootstraps.labels("chosen").inc()
            self._chosen(task, effort)
        elif effort.is_decided or self._is_long(self._restorer.progress(task).remaining_offsets):
            metrics.bootstraps.labels("restored").inc()
            self._exchange(task, bootstrap)

    def _failed(self, task: TaskId, effort: _Effort, error: StreamerError) -> None:
        cause = effort.cause
        if effort.rebuild:
            _log.error("task %s: the copy is not rebuilt: %s", task, error.describe())
            self._rebuilds.fail(task, str(error))
        elif cause is None:
            _log.warning(
                "task %s: no snapshot was fetched, its changelogs are read: %s", task, error
            )
            if effort.is_paused:
                self._roles.reopen(task, lambda: None)
                self._undecided.discard(task)
        elif isinstance(cause, StateOutdatedError):
            _log.warning("task %s: no snapshot was fetched: %s", task, error)
            self._roles.restore_whole(task, cause)
        elif isinstance(error, RepositoryError | KafkaUnavailableError):
            _log.warning("task %s: asking again in %d s: %s", task, RETRY_S, error)
            self._retries[task] = time.monotonic() + RETRY_S, cause
        else:
            self._roles.give_up(task, _lost(cause, error))

    def _chosen(self, task: TaskId, effort: _Effort) -> None:
        choice = effort.bootstrap.choice
        assert choice is not None
        if effort.rebuild:
            self._exchange(task, effort.bootstrap)
        elif choice.way is Way.CHANGELOG and isinstance(effort.cause, StateOutdatedError):
            self._roles.restore_whole(task, effort.cause)
        elif effort.cause is not None:
            self._roles.give_up(task, effort.cause)
        else:
            _log.info("task %s: its changelogs are read, in about %.0f s", task, choice.seconds)

    def _exchange(self, task: TaskId, bootstrap: Bootstrap) -> None:
        """The new database takes the place of the old one, which stays until this one serves."""

        def act() -> None:
            adopted = exchange(bootstrap, now_ms=time.time_ns() // 1_000_000)
            self._telling.adopted(bootstrap, adopted)

        # What is left is read, however much it is; and what it took is not forgotten.
        rescues = self._rescues.counts.get(task, 0)
        self._roles.reopen(task, act)
        # Also where it cannot be opened: it was exchanged, and is not to be again.
        self._remains.opened(task, bootstrap.wanted.target)
        self._undecided.discard(task)
        self._rescues.counts[task] = rescues

    # -- orders ----------------------------------------------------------------------------------

    def _follow_orders(self, pool: Bootstraps) -> None:
        for task in self._rebuilds.withdrawn({t: e.rebuild for t, e in self._efforts.items()}):
            self._drop(task)
        for task, order in self._rebuilds.due(self._remains.notes):
            refusal = self._rebuilds.refusal(order)
            if refusal or self._roles.is_active(task):
                self._rebuilds.fail(task, refusal or _ACTIVE.format(task=task))
            elif self._roles.is_open_for_restore(task) and task not in self._efforts:
                wanted = self._rebuilds.wanted(self._wants(task, None), order)
                self._efforts[task] = _Effort(pool.begin(wanted), rebuild=order.operation)
                _log.info("task %s: the copy is rebuilt for %s", task, order.operation)


_ACTIVE = (
    "task {task} is processed by this worker, and only a copy can be rebuilt: move it, or name"
    " another worker"
)


def _held(efforts: Mapping[TaskId, _Effort], now_s: float) -> frozenset[TaskId]:
    return frozenset(task for task, effort in efforts.items() if effort.holds(now_s))


def _is_rescuable(error: StreamerError, config: Config) -> bool:
    if isinstance(error, StateOutdatedError):
        return config.bootstrap_from == "auto"
    return isinstance(error, ChangelogTrimmedError)


def _lost(cause: StreamerError, error: StreamerError) -> StreamerError:
    return ChangelogTrimmedError(
        f"{cause.message}; and no snapshot brings it back: {error.message}",
        hint="make a snapshot of the task where it is whole, or bring back a repository that has"
        " one which reaches the changelog's begin, and start again. Nothing was changed",
    )
