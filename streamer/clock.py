"""Time as a value that can be passed in: the system's clock, or one that a test moves by hand.

`now_ms` is the wall clock (milliseconds since 1970 UTC; may jump); `monotonic_ms` measures
durations and never goes back. Streamer itself reads no other clock for anything that decides.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """What the loop, punctuation, timeouts and leases ask for the time."""

    def now_ms(self) -> int: ...

    def monotonic_ms(self) -> int: ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class ManualClock:
    """Stands still until it is told to move. Both readings advance together."""

    def __init__(self, start_ms: int = 0) -> None:
        self._now_ms = start_ms
        self._monotonic_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def advance(self, duration_ms: int) -> int:
        """Let time pass and return the new wall time. Raises ValueError for a negative duration."""
        if duration_ms < 0:
            raise ValueError(f"time does not run backwards: {duration_ms} ms")
        self._now_ms += duration_ms
        self._monotonic_ms += duration_ms
        return self._now_ms

    def jump_to(self, now_ms: int) -> None:
        """Set the wall clock alone, as an administrator or NTP would."""
        self._now_ms = now_ms
