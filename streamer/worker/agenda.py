"""Which task a snapshot is made of next, and for whom: pure, apart from the clock it is given.

What was ordered goes first, in the order of the tasks; then what is due by the schedule. A task
that failed waits before it is tried again, ever longer, and holds up no other. Whether a task is
through for an order, and how old its newest snapshot is, the repository knows: after a start or a
move it is looked up there, and what this worker makes is remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

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
    order: SnapshotOrder | None = None
    # Of the order: the tasks that it names, and the snapshots that fulfil it.
    _named: frozenset[str] = frozenset()
    _through: dict[TaskId, str] = field(default_factory=dict)
    _trouble: dict[Want, _Trouble] = field(default_factory=dict)
    # When the newest snapshot was made, by the wall clock; -1 where there is none.
    _newest_ms: dict[TaskId, int] = field(default_factory=dict)

    def follow(self, order: SnapshotOrder | None) -> None:
        """The order that stands now, if any."""
        if order is self.order or order == self.order:
            return
        before, self.order = self.order, order
        # Asked many times a second, of an order that may name all tasks of a large fleet.
        self._named = frozenset(order.tasks) if order else frozenset()
        if before is None or order is None or before.operation != order.operation:
            self._through.clear()
        # A new word is a new chance, such as after somebody has mended what was wrong.
        self._trouble = {want: one for want, one in self._trouble.items() if not want.operation}

    def only(self, running: Collection[TaskId]) -> None:
        """Forget tasks that do not run here: another worker may do something with them."""
        for known in (self._through, self._newest_ms):
            for task in [each for each in known if each not in running]:
                del known[task]
        self._trouble = {want: one for want, one in self._trouble.items() if want.task in running}

    def next(self, running: Collection[TaskId], now_ms: int) -> Want | None:
        """What to do now. `now_ms` is the wall clock's: slots are the same for all workers."""
        wants = [*self._ordered(running), *self._due(running, now_ms)]
        return next((want for want in wants if self._may(want, now_ms)), None)

    def asked(self, running: Collection[TaskId]) -> list[TaskId]:
        """The tasks that run here and that the order is about."""
        if self.order is None:
            return []
        named = self._named
        return sorted(task for task in running if not named or str(task) in named)

    def is_ordered(self, want: Want) -> bool:
        """Whether it is still wanted: an order may have been taken back meanwhile."""
        return not want.operation or (
            self.order is not None and self.order.operation == want.operation
        )

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
            self._through[want.task] = snapshot

    def failed(self, want: Want, why: str, now_ms: int) -> int:
        """It could not be made; in how many ms it is tried again."""
        times = self._trouble[want].times if want in self._trouble else 0
        pause_ms = min(_AGAIN_MS_FIRST << times, _AGAIN_MS_MAX)
        self._trouble[want] = _Trouble(min(times + 1, 20), now_ms + pause_ms, why)
        return pause_ms

    def chores(
        self, running: Collection[TaskId], working: Mapping[TaskId, ChoreReport]
    ) -> dict[TaskId, ChoreReport]:
        """What became of the order, by task; `working` are those being done."""
        order = self.order
        if order is None:
            return {}
        found = {}
        for task in self.asked(running):
            want = Want(task, order.operation, order.repository)
            trouble = self._trouble.get(want)
            if made := self._through.get(task):
                found[task] = ChoreReport(operation=order.operation, state="done", made=made)
            elif task in working:
                found[task] = working[task]
            elif trouble is not None:
                found[task] = ChoreReport(
                    operation=order.operation, state="failed", why=trouble.why
                )
            else:
                found[task] = ChoreReport(operation=order.operation, state="waiting")
        return found

    def _ordered(self, running: Collection[TaskId]) -> list[Want]:
        order = self.order
        if order is None:
            return []
        return [
            Want(task, order.operation, order.repository)
            for task in self.asked(running)
            if task not in self._through
        ]

    def _due(self, running: Collection[TaskId], now_ms: int) -> list[Want]:
        if not self.interval_ms:
            return []
        return [Want(task) for task in sorted(running) if self.is_due(task, now_ms)]

    def _may(self, want: Want, now_ms: int) -> bool:
        trouble = self._trouble.get(want)
        return trouble is None or now_ms >= trouble.again_ms


def slot(task: TaskId, time_ms: int, interval_ms: int) -> int:
    """The number of the interval in which a time lies; those of different tasks begin at different
    times, wherever the tasks run."""
    place = (task.partition + 1) * _GOLDEN + task.subtopology * _GOLDEN * _GOLDEN
    return int(time_ms - (place % 1.0) * interval_ms) // interval_ms
