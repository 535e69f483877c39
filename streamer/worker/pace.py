"""`Pace`: how long a transaction is open, and whose code is slow.

The broker ends a transaction that stays open beyond its timeout, and so fences the worker each
time. A quarter of that is what may pass before the rest goes into a transaction of its own.
"""

from __future__ import annotations

from streamer.clock import Clock
from streamer.ids import TaskId

__all__ = ["Pace"]


class Pace:
    """`slow` are tasks whose last turn alone took longer than that."""

    def __init__(self, clock: Clock, transaction_timeout_ms: int) -> None:
        self.slow: set[TaskId] = set()
        self._clock = clock
        self._share_ms = transaction_timeout_ms // 4
        self.begin()

    def begin(self) -> None:
        """No transaction is open now."""
        self._began_ms = self._clock.monotonic_ms()

    def is_over(self) -> bool:
        return self._clock.monotonic_ms() - self._began_ms > self._share_ms

    def note(self, task: TaskId, seconds: float) -> None:
        """A turn of the task took so long."""
        if seconds * 1000 > self._share_ms:
            self.slow.add(task)
        else:
            self.slow.discard(task)
