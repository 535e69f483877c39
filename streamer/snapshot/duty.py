"""How much of a processor this process takes: it works, and rests in proportion.

A low priority gives way to who wants the same core, not to who shares that core's caches, its
memory or its limit (of a container, say): for them it counts how much is done at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from streamer.clock import Clock, SystemClock
from streamer.snapshot.pace import BURST_S

__all__ = ["DutyCycle"]

_PERCENT_MAX = 100


class DutyCycle:
    """Keeps the time that all threads of this process take, its start included, to `percent` of one
    core's; 100 is without a limit. What waiting for others has saved counts for a moment only."""

    def __init__(
        self,
        percent: int,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], object] = time.sleep,
        used_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._percent = percent
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._used_s = used_s
        self._lock = threading.Lock()
        self._seen_s = 0.0
        self._free_ms = float(self._clock.monotonic_ms())

    def rest(self) -> None:
        """Called by each thread between two pieces of work: wait until the time that was taken is
        within the limit. Raises what `sleep` raises."""
        if self._percent >= _PERCENT_MAX:
            return
        with self._lock:
            now_ms, used_s = self._clock.monotonic_ms(), self._used_s()
            cost_ms = (used_s - self._seen_s) * 1000 * _PERCENT_MAX / self._percent
            self._seen_s = used_s
            self._free_ms = max(self._free_ms, now_ms - BURST_S * 1000) + cost_ms
            wait_s = (self._free_ms - now_ms) / 1000
        if wait_s > 0:
            self._sleep(wait_s)
