"""How fast a feed is, and how fast it may be."""

from __future__ import annotations

from collections import deque

import msgspec

from streamer.clock import Clock

__all__ = ["FeedProgress", "Pace"]

_WINDOW_MS = 30_000
# A limit is kept in portions of so long, so that a stop or another limit is heard of soon.
_PORTION_S = 0.5
_RECORD_BYTES = 200


class FeedProgress(msgspec.Struct, frozen=True):
    """Of one feed. `records` and `size` (bytes of keys and rows) are those fed since its begin, the
    totals an estimate by what is left. `lag` is in offsets, -1 while an end is not known yet.
    `waits_for` says what holds it up, empty where nothing does."""

    task: int
    positions: dict[str, int]
    ends: dict[str, int]
    lag: int
    records: int
    records_total: int
    size: int
    size_total: int
    records_per_s: float
    bytes_per_s: float
    waits_for: str


class Pace:
    """Used by the thread that feeds. Without a limit there is nothing to wait for."""

    def __init__(self, clock: Clock, bytes_per_s: int | None = None) -> None:
        self._clock = clock
        self.bytes_per_s = bytes_per_s
        self._due_ms = float(clock.monotonic_ms())
        self._seen: deque[tuple[int, int, int]] = deque([(clock.monotonic_ms(), 0, 0)])
        self._record_bytes = float(_RECORD_BYTES)

    def fed(self, records: int, size: int) -> None:
        """Note what was fed just now."""
        now = self._clock.monotonic_ms()
        if records:
            self._record_bytes = size / records
        if self.bytes_per_s:
            self._due_ms = max(self._due_ms, now) + size * 1000 / self.bytes_per_s
        self._seen.append((now, records, size))
        self._forget(now)

    def wait_s(self) -> float:
        """How long nothing more is to be fed."""
        if not self.bytes_per_s:
            return 0.0
        return max(self._due_ms - self._clock.monotonic_ms(), 0.0) / 1000

    def records_max(self, at_most: int) -> int:
        """How many records to take at once, by the size of the last ones."""
        if not self.bytes_per_s:
            return at_most
        portion = self.bytes_per_s * _PORTION_S / max(self._record_bytes, 1.0)
        return max(min(int(portion), at_most), 1)

    def rates(self) -> tuple[float, float]:
        """Records and bytes in a second, of the last half minute."""
        now = self._clock.monotonic_ms()
        # A copy: whoever asks may be another thread.
        seen = [one for one in list(self._seen) if now - one[0] <= _WINDOW_MS]
        spent_s = max(now - min((one[0] for one in seen), default=now), 1_000) / 1000
        return sum(one[1] for one in seen) / spent_s, sum(one[2] for one in seen) / spent_s

    def _forget(self, now: int) -> None:
        while now - self._seen[0][0] > _WINDOW_MS:
            self._seen.popleft()
