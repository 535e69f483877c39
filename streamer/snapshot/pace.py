"""How fast bytes may move: one limit for all transfers of a process, however many run at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from streamer.clock import Clock, SystemClock

__all__ = ["Pace"]

# What may be saved up while nothing moves: enough to be even, too little to be a burst.
BURST_S = 0.25


class Pace:
    """Lets `bytes_per_s` through; 0 is without a limit."""

    def __init__(
        self,
        bytes_per_s: int = 0,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bytes_per_s = bytes_per_s
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_ms = float(self._clock.monotonic_ms())

    def take(self, count: int) -> None:
        """Wait until `count` bytes may move. Whoever comes first goes first."""
        if not self.bytes_per_s:
            return
        with self._lock:
            now_ms = self._clock.monotonic_ms()
            self._free_ms = max(self._free_ms, now_ms - BURST_S * 1000)
            self._free_ms += count * 1000 / self.bytes_per_s
            wait_ms = self._free_ms - now_ms
        if wait_ms > 0:
            self._sleep(wait_ms / 1000)

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks, each when it may move."""
        for chunk in chunks:
            self.take(len(chunk))
            yield chunk
