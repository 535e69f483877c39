"""How fast bytes may move: one limit for all transfers of a process, however many run at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from streamer.clock import Clock, SystemClock

__all__ = ["Pace"]

# What may be saved up while nothing moves: enough to be even, too little to be a burst.
BURST_S = 0.25
_LOOK_S = 0.1


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

    def take(self, count: int, meanwhile: Callable[[], object] | None = None) -> None:
        """Wait until `count` bytes may move. Whoever comes first goes first. `meanwhile` is called
        several times a second; what it raises ends the wait, and nothing is taken."""
        if not self.bytes_per_s:
            return
        cost_ms = count * 1000 / self.bytes_per_s
        with self._lock:
            now_ms = self._clock.monotonic_ms()
            self._free_ms = max(self._free_ms, now_ms - BURST_S * 1000) + cost_ms
            wait_s = (self._free_ms - now_ms) / 1000
        try:
            while wait_s > 0:
                part_s = wait_s if meanwhile is None else min(wait_s, _LOOK_S)
                self._sleep(part_s)
                wait_s -= part_s
                if meanwhile is not None:
                    meanwhile()
        except BaseException:
            with self._lock:
                self._free_ms -= cost_ms
            raise

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks, each when it may move."""
        for chunk in chunks:
            self.take(len(chunk))
            yield chunk
