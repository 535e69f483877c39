"""Copies that this worker keeps of tasks of the layout that is to follow, as it was ordered.

    ordered -> opened in the directory that the task will have, following the new changelogs
    order gone -> closed; and removed, once it is sure that its layout is not recorded
    layout recorded -> the worker begins anew with it, and the copy is the state of its task

A shadow is no copy of a task that is there: nobody promotes it, asks it or counts it. It has names
of another layout, and so a restorer of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from streamer import failpoints, metrics
from streamer.cluster.seat import Shadowed
from streamer.control.messages import ChoreReport, StandbyReport
from streamer.control.orders import Order, ShadowOrder
from streamer.errors import StreamerError, TaskCorruptedError
from streamer.ids import FIRST_LAYOUT, Layout, TaskId, TopicPartition
from streamer.layout import ApplicationLayout
from streamer.log import task_context
from streamer.restore import Restorer
from streamer.store.directory import WorkerDirectory
from streamer.store.rocks import TaskDatabase
from streamer.worker.shadow_marks import Mark, make_room, mark, marks, remove

__all__ = ["Shadows", "Standing"]

_log = logging.getLogger(__name__)

_AGAIN_S = 1.0
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Standing:
    """What is on record: the layout, read after the order for this worker."""

    layout: Layout
    order: ShadowOrder | None

    def wants(self, one: Mark) -> bool:
        """Whether a shadow may still be of use, whatever this worker has heard of."""
        if one.layout <= self.layout:
            return True
        order = self.order
        return (
            order is not None and order.operation == one.operation and str(one.task) in order.tasks
        )


class Shadows:
    """Used by the loop's thread. `running` is the layout of this worker's tasks."""

    def __init__(
        self,
        opening: Callable[[TaskId, Path], TaskDatabase],
        changelogs: Callable[[TaskId, ApplicationLayout], Mapping[str, TopicPartition]],
        *,
        directory: WorkerDirectory,
        restorer: Restorer,
        standing: Callable[[], Standing],
        running: Layout,
        lag_max: int,
    ) -> None:
        self._opening = opening
        self._changelogs = changelogs
        self._directory = directory
        self._restorer = restorer
        # Beside tasks that process, whatever they do at the moment.
        restorer.beside_processing = True
        self._standing = standing
        self._running = running
        self._lag_max = lag_max
        self._heard: tuple[Order, ...] | None = None
        self._order: ShadowOrder | None = None
        self._layout = ApplicationLayout(FIRST_LAYOUT)
        self._wanted: frozenset[TaskId] = frozenset()
        self._open: dict[TaskId, TaskDatabase] = {}
        self._failed: dict[TaskId, StreamerError] = {}
        self._renewed: set[TaskId] = set()
        self._marks = {one.path: one for one in marks(directory.path / "tasks")}
        self._look: _Look | None = None
        self._again_s = 0.0
        self._warm: frozenset[TaskId] = frozenset()
        self._looked_s = 0.0

    # -- the turn --------------------------------------------------------------------------------

    def turn(self, orders: tuple[Order, ...]) -> bool:
        """Do what is due with these orders, all that stand; the same object while they do not
        change. Returns whether there is something to tell at once."""
        changed = self._hear(orders)
        changed |= self._take_ended()
        self._tidy()
        return self._keep() or self._has_warmed() or changed

    def _hear(self, orders: tuple[Order, ...]) -> bool:
        if orders is self._heard:
            return False
        self._heard = orders
        own = [
            order
            for order in orders
            if isinstance(order, ShadowOrder)
            and order.worker == self._directory.worker_id
            and order.layout.number > self._running
        ]
        before, self._order = self._order, own[0] if own else None
        if self._order == before:
            return False
        order, is_same = self._order, False
        if order is not None:
            is_same = before is not None and (
                (order.operation, order.layout) == (before.operation, before.layout)
            )
            self._layout = order.layout.layout
        self._wanted = frozenset(map(TaskId.parse, order.tasks if order else ()))
        self._close(self._open.keys() - (self._wanted if is_same else frozenset()))
        self._failed, self._renewed = {}, set()
        return True

    def _take_ended(self) -> bool:
        """What has stopped following, which it does by itself only where something is wrong."""
        changed = False
        for task, error in self._restorer.finished():
            if task in self._open and error is not None:
                self._close({task})
                self._fail(task, error)
                changed = True
        return changed

    def _keep(self) -> bool:
        """Open the next one that is not there: opening one takes a moment, and they can wait."""
        missing = self._wanted - self._open.keys() - self._failed.keys()
        if not missing or self._order is None:
            return False
        task = min(missing)
        one = Mark(self._path(task), task, self._layout.number, self._order.operation)
        with task_context(one.path.name):
            try:
                make_room(one)
                mark(one)
                self._marks[one.path] = one
                failpoints.hit("shadow.before_open")
                database = self._opening(task, one.path)
            except StreamerError as error:
                self._fail(task, error)
                return True
            self._open[task] = database
            self._restorer.follow(task, database, self._changelogs(task, self._layout))
            _log.info("task %s of layout %d: keeping a copy", task, one.layout)
        return True

    def _fail(self, task: TaskId, error: StreamerError) -> None:
        """Made anew once where the state is what is wrong: all of it is in the changelogs. Then it
        is told, and tried again when the order is given again."""
        path = self._path(task)
        if isinstance(error, TaskCorruptedError) and task not in self._renewed:
            self._renewed.add(task)
            try:
                remove(path)
            except StreamerError as refused:
                error = refused
            else:
                _log.warning("%s. The copy for the next layout is made anew", error)
                return
        _log.error("the copy in %s has stopped: %s", path, error.describe())
        self._failed[task] = error

    # -- those that nobody wants -----------------------------------------------------------------

    def _tidy(self) -> None:
        """Remove what no order asks for. What this worker has heard may be old: it looks first."""
        wanted = {self._path(task) for task in self._wanted}
        left = [one for path, one in self._marks.items() if path not in wanted]
        look = self._look
        if look is None:
            if left and time.monotonic() >= self._again_s:
                self._look = _Look(self._standing)
            return
        if not look.is_done:
            return
        self._look, self._again_s = None, time.monotonic() + _AGAIN_S
        if look.found is None:
            return
        for one in left:
            if look.found.wants(one):
                continue
            try:
                remove(one.path)
            except StreamerError as error:
                _log.error("%s", error.describe())
                continue
            del self._marks[one.path]
            _log.info("task %s of layout %d: the copy is removed", one.task, one.layout)

    def _close(self, tasks: Set[TaskId]) -> None:
        closing = {task: self._open.pop(task) for task in tasks}
        if not closing:
            return
        self._restorer.cancel(*closing)
        for database in closing.values():
            database.close()
            name = database.directory.name
            metrics.forget_task(name)
            _log.info("%s: the copy is closed", name)

    def close(self) -> None:
        """Close all of them; they stay on the disk, where a start goes on with them."""
        self._close({*self._open})

    # -- what others want to know ----------------------------------------------------------------

    def told(self) -> Shadowed:
        """Of whose order, and how far each is."""
        if self._order is None:
            return Shadowed()
        reports = {
            task: replace(_FAILED, chore=self._chore(str(error)))
            for task, error in self._failed.items()
        }
        for task, database in self._open.items():
            lag = self._restorer.lag(task)
            if lag is not None:
                metrics.shadow_lag_records.labels(database.directory.name).set(lag)
            reports[task] = StandbyReport(
                lag_records=-1 if lag is None else lag,
                is_current=self._restorer.is_current(task),
                bytes=database.size_bytes(),
                durable=self._restorer.durable(task),
            )
        return Shadowed(self._order.operation, reports)

    def _chore(self, why: str) -> ChoreReport:
        assert self._order is not None
        return ChoreReport(operation=self._order.operation, state="failed", why=why)

    def _has_warmed(self) -> bool:
        """Whether others than at the last call could be begun with now: that is waited for."""
        now_s = time.monotonic()
        if not self._open or now_s - self._looked_s < _LOOK_S:
            return False
        warm = frozenset(task for task in self._open if self._is_warm(task))
        is_other, self._warm, self._looked_s = warm != self._warm, warm, now_s
        return is_other

    def _is_warm(self, task: TaskId) -> bool:
        lag = self._restorer.lag(task)
        return lag is not None and (lag <= self._lag_max or self._restorer.is_current(task))

    def _path(self, task: TaskId) -> Path:
        return self._directory.task(task, self._layout.number)


_FAILED = StandbyReport(state="failed", lag_records=-1)


class _Look:
    """One look at what is on record, in a thread of its own; `found` is None where it failed."""

    def __init__(self, standing: Callable[[], Standing]) -> None:
        self.found: Standing | None = None
        self._standing = standing
        self._thread = threading.Thread(target=self._run, name="look at shadows", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.found = self._standing()
        except StreamerError as error:
            _log.warning("whether copies are wanted is not known at present: %s", error)
