"""Which task a snapshot is made of next, and for whom: pure, apart from the clock it is given.

What was ordered goes first, in the order of the tasks; then what is due by the schedule, the oldest
first. Several orders may stand: each task is busy with one of them, the one that names the fewest
tasks, so that a rebuild from the active waits for no order that is about all. A task that failed
waits before it is tried again, ever longer, and holds up no other. Whether a task is through for an
order, and how old its newest snapshot is, the repository knows: after a start or a move it is
looked up there, and what this worker makes is remembered.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamer.control.messages import ChoreReport
from streamer.control.orders import SnapshotOrder
from streamer.ids import TaskId

__all__ = ["Agenda", "Want", "slot"]

_AGAIN_MS_FIRST, _AGAIN_MS_MAX = 5_000, 300_000
# Steps of the golden ratio: however many tasks follow each other, their places are spread evenly.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Want:
    """A snapshot to be made. `operation` ordered it, "" is the schedule; `repository` is an
    address, "" is that of the settings."""

    task: TaskId
    operation: str = ""
    repository: str = ""


@dataclass(slots=True)
class _Trouble:
    times: int
    again_ms: int
    why: str


@dataclass(slots=True)
class Agenda:
    """For the tasks that run here. `interval_ms` of 0 is without a schedule. Used by one thread."""

    interval_ms: int = 0
    # By operation, in the order in which a task follows them.
    _orders: dict[str, SnapshotOrder] = field(default_factory=dict)
    # The tasks that an order names, and the snapshots that fulfil it, by operation.
    _named: dict[str, frozenset[str]] = field(default_factory=dict)
    _through: dict[str, dict[TaskId, str]] = field(default_factory=dict)
    _trouble: dict[Want, _Trouble] = field(default_factory=dict)
    # When the newest snapshot was made, by the wall clock; -1 where there is none.
    _newest_ms: dict[TaskId, int] = field(default_factory=dict)

    def follow(self, *orders: SnapshotOrder) -> None:
        """The orders that stand now."""
        before = self._orders
        order = sorted(orders, key=lambda one: len(one.tasks) or sys.maxsize)
        self._orders = {one.operation: one for one in order}
        # Asked many times a second, of an order that may name all tasks of a large fleet.
        self._named = {one.operation: frozenset(one.tasks) for one in orders}
        self._through = {name: self._through.get(name, {}) for name in self._orders}
        # A new word is a new chance, such as after somebody has mended what was wrong.
        same = {name for name, one in self._orders.items() if before.get(name) == one} | {""}
        self._trouble = {want: one for want, one in self._trouble.items() if want.operation in same}

    def only(self, running: Collection[TaskId]) -> None:
        """Forget tasks that do not run here: another worker may do something with them."""
        known: list[dict[TaskId, Any]] = [self._newest_ms, *self._through.values()]
        for each in known:
            for task in [task for task in each if task not in running]:
                del each[task]
        self._trouble = {want: one for want, one in self._trouble.items() if want.task in running}

    def next(self, running: Collection[TaskId], now_ms: int) -> Want | None:
        """What to do now. `now_ms` is the wall clock's: slots are the same for all workers."""
        wants = [*self._ordered(running), *self._due(running, now_ms)]
        return next((want for want in wants if self._may(want, now_ms)), None)

    def order_of(self, task: TaskId) -> SnapshotOrder | None:
        """What a task is busy with: the first order that is about it, but of those that failed the
        one that may be tried again first, after all others."""
        about = [
            order
            for name, order in self._orders.items()
            if not self._named[name] or str(task) in self._named[name]
        ]
        return min(about, key=lambda order: self._again_ms(_want(task, order)), default=None)

    def is_ordered(self, want: Want) -> bool:
        """Whether it is still wanted: an order may have been taken back meanwhile."""
        return not want.operation or want.operation in self._orders

    def newest_ms(self, task: TaskId) -> int | None:
        """When the newest snapshot of a task was made; -1: never, None: it is not known."""
        return self._newest_ms.get(task)

    def learnt(self, task: TaskId, newest_ms: int) -> None:
        """The repository was looked at: when its newest snapshot of this task was made, or -1."""
        self._newest_ms[task] = max(newest_ms, self._newest_ms.get(task, -1))

    def is_due(self, task: TaskId, now_ms: int) -> bool:
        """Whether the schedule asks for a snapshot, as far as is known; unknown is due."""
        newest_ms = self._newest_ms.get(task, -1)
        interval_ms = self.interval_ms
        return newest_ms < 0 or slot(task, newest_ms, interval_ms) < slot(task, now_ms, interval_ms)

    def made(self, want: Want, snapshot: str, made_ms: int) -> None:
        """There is a snapshot."""
        self._trouble.pop(want, None)
        if not want.repository:
            self.learnt(want.task, made_ms)
        if want.operation and self.is_ordered(want):
            self._through[want.operation][want.task] = snapshot

    def failed(self, want: Want, why: str, now_ms: int) -> int:
        """It could not be made; in how many ms it is tried again."""
        times = self._trouble[want].times if want in self._trouble else 0
        pause_ms = min(_AGAIN_MS_FIRST << times, _AGAIN_MS_MAX)
        self._trouble[want] = _Trouble(min(times + 1, 20), now_ms + pause_ms, why)
        return pause_ms

    def chores(
        self, running: Collection[TaskId], working: Mapping[TaskId, ChoreReport]
    ) -> dict[TaskId, ChoreReport]:
        """What became of the orders, by task; `working` are those being done."""
        return {
            task: working[task] if task in working else self._chore(task, order)
            for task in running
            if (order := self.order_of(task)) is not None
        }

    def _chore(self, task: TaskId, order: SnapshotOrder) -> ChoreReport:
        trouble = self._trouble.get(_want(task, order))
        if made := self._through[order.operation].get(task):
            return ChoreReport(operation=order.operation, state="done", made=made)
        if trouble is not None:
            return ChoreReport(operation=order.operation, state="failed", why=trouble.why)
        return ChoreReport(operation=order.operation, state="waiting")

    def _ordered(self, running: Collection[TaskId]) -> list[Want]:
        if not self._orders:
            return []
        return [
            _want(task, order)
            for task in sorted(running)
            if (order := self.order_of(task)) is not None
            and task not in self._through[order.operation]
        ]

    def _due(self, running: Collection[TaskId], now_ms: int) -> list[Want]:
        if not self.interval_ms:
            return []
        # Where they take longer than the interval all are due, and each must have its turn.
        due = [(self._newest_ms.get(task, -1), task) for task in running]
        return [Want(task) for _newest_ms, task in sorted(due) if self.is_due(task, now_ms)]

    def _may(self, want: Want, now_ms: int) -> bool:
        return now_ms >= self._again_ms(want)

    def _again_ms(self, want: Want) -> int:
        trouble = self._trouble.get(want)
        return trouble.again_ms if trouble is not None else 0


def _want(task: TaskId, order: SnapshotOrder) -> Want:
    return Want(task, order.operation, order.repository)


def slot(task: TaskId, time_ms: int, interval_ms: int) -> int:
    """The number of the interval in which a time lies; those of different tasks begin at different
    times, wherever the tasks run."""
    place = (task.partition + 1) * _GOLDEN + task.subtopology * _GOLDEN * _GOLDEN
    return int(time_ms - (place % 1.0) * interval_ms) // interval_ms
