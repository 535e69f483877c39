"""The placement that the controller works towards, and when it is made anew.

A new one is made when a worker is gone, at once; when workers joined, after a short settling, so
that starting several workers does not move tasks several times; and when tasks are without a place.
A worker that is present but not ready (it was fenced and will be back in a moment) keeps its
place for `COMING_MS`, so that its tasks need not move to another disk and back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Set
from dataclasses import dataclass, field

from streamer.assignment.model import Situation, moves
from streamer.assignment.solve import solve
from streamer.ids import TaskId

__all__ = ["COMING_MS", "SETTLE_MS", "Plan"]

Tasks = frozenset[TaskId]

# Processes of one host start within this of each other; a single start is delayed by it.
SETTLE_MS = 400
# A steady trickle of joining workers delays the placement by no more than this.
SETTLE_MS_MAX = 4 * SETTLE_MS
# Making a producer anew takes 60 ms, a loop turn with slow user code seconds.
COMING_MS = 5_000
_NAMED_MAX = 3


@dataclass(slots=True)
class Plan:
    """Which worker each task shall go to. `former` remembers where tasks were before."""

    tasks: Tasks
    workers: frozenset[str] = frozenset()
    target: dict[TaskId, str] = field(default_factory=dict)
    former: dict[TaskId, str] = field(default_factory=dict)
    why: str = ""
    _share: dict[str, Tasks] = field(default_factory=dict)
    _joining: frozenset[str] = frozenset()
    _first_joined_ms: int = 0
    _last_joined_ms: int = 0
    _missing_ms: dict[str, int] = field(default_factory=dict)

    def remember(self, worker: str, tasks: Tasks, *, ended: bool) -> None:
        """What an earlier controller granted; nothing moves only because the controller does."""
        if ended:
            self.former.update(dict.fromkeys(tasks & self.tasks, worker))
            return
        self.workers |= {worker}
        self.target.update(dict.fromkeys(tasks & self.tasks, worker))
        self._divide()

    @property
    def is_waiting(self) -> bool:
        """Time alone will change something: workers settle, or may come back."""
        return bool(self._joining or self._missing_ms)

    def share(self, worker: str) -> Tasks:
        """The tasks that shall go to the worker."""
        return self._share.get(worker, frozenset())

    def update(self, ready: Set[str], present: Set[str], *, now_ms: int) -> bool:
        """Make a new placement if it is time, and say so.

        Ready workers can own tasks; of present ones a process is in the group.
        """
        missing = self.workers - ready
        self._missing_ms = {each: self._missing_ms.get(each, now_ms) for each in missing}
        coming = {
            each
            for each, since_ms in self._missing_ms.items()
            if each in present and now_ms - since_ms < COMING_MS
        }
        gone = missing - coming
        joined = frozenset(ready - self.workers)
        unplaced = bool(self.workers) and self.target.keys() != self.tasks
        is_due = self._is_settled(joined, now_ms)
        if not (gone or unplaced or is_due):
            return False
        self._place(frozenset(ready | coming), _reason(joined, gone))
        return True

    def _is_settled(self, joined: frozenset[str], now_ms: int) -> bool:
        if not joined:
            self._joining = joined
            return False
        if not self._joining:
            self._first_joined_ms = now_ms
        if joined - self._joining:
            self._last_joined_ms = now_ms
        self._joining = joined
        return (
            now_ms - self._last_joined_ms >= SETTLE_MS
            or now_ms - self._first_joined_ms >= SETTLE_MS_MAX
        )

    def _place(self, workers: frozenset[str], why: str) -> None:
        after = solve(Situation(workers, self.tasks, self.target, self.former))
        moved = moves(self.target, after)
        self.former.update({task: old for task, (old, _) in moved.items() if old is not None})
        if not workers:
            self.former.update(self.target)
        self.workers, self.target, self.why = workers, after, why
        self._joining = frozenset()
        self._divide()

    def _divide(self) -> None:
        share: dict[str, set[TaskId]] = defaultdict(set)
        for task, worker in self.target.items():
            share[worker].add(task)
        self._share = {worker: frozenset(tasks) for worker, tasks in share.items()}


def _reason(joined: Collection[str], gone: Collection[str]) -> str:
    parts = [f"{_named(joined)} joined"] if joined else []
    parts += [f"{_named(gone)} gone"] if gone else []
    return "; ".join(parts) or "tasks without a place"


def _named(workers: Collection[str]) -> str:
    """A few by name: every record of the placement carries this."""
    named = ", ".join(sorted(workers)[:_NAMED_MAX])
    more = len(workers) - _NAMED_MAX
    return f"{named} and {more} more" if more > 0 else named
