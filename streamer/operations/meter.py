"""How fast a step is, and when it will be done: from what it told of late."""

from __future__ import annotations

from collections import deque

import msgspec

from streamer.clock import Clock
from streamer.control.operations import ProgressRecord

__all__ = ["Meter"]

# Long enough to even out files of different sizes, short enough to follow a throttle.
_WINDOW_MS = 15_000
# Before that a rate says more of how the first call was timed.
_ENOUGH_MS = 500
_POINTS_MAX = 64


class Meter:
    """Adds rates and the time that is left to what a step tells. One for each run of a step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._phase = ("", 0)
        self._points: deque[tuple[int, int, int]] = deque()

    def read(self, told: ProgressRecord) -> ProgressRecord:
        now = self._clock.monotonic_ms()
        if (phase := (told.phase, told.number)) != self._phase or self._is_back(told):
            # Another phase counts other things; what is done again is not progress.
            self._phase = phase
            self._points.clear()
        self._add((now, told.bytes_done, told.records_done))
        began, bytes_then, records_then = self._points[0]
        spent_ms = now - began
        rates = (0, 0)
        if spent_ms >= _ENOUGH_MS:
            rates = (
                (told.bytes_done - bytes_then) * 1000 // spent_ms,
                (told.records_done - records_then) * 1000 // spent_ms,
            )
        return msgspec.structs.replace(
            told,
            bytes_per_s=rates[0],
            records_per_s=rates[1],
            eta_s=_left(told, *rates),
            at_ms=self._clock.now_ms(),
        )

    def _is_back(self, told: ProgressRecord) -> bool:
        if not self._points:
            return False
        _at, bytes_done, records_done = self._points[-1]
        return told.bytes_done < bytes_done or told.records_done < records_done

    def _add(self, point: tuple[int, int, int]) -> None:
        points = self._points
        # Callers tell of every file: few points over the window are as exact.
        if len(points) > 1 and point[0] - points[-2][0] < _WINDOW_MS // _POINTS_MAX:
            points.pop()
        points.append(point)
        while len(points) > 2 and point[0] - points[1][0] >= _WINDOW_MS:
            points.popleft()


def _left(told: ProgressRecord, bytes_per_s: int, records_per_s: int) -> int:
    """Seconds until all is done, by whatever takes longest; -1 where nothing tells."""
    left = [
        -(-max(total - done, 0) // rate)
        for done, total, rate in (
            (told.bytes_done, told.bytes_total, bytes_per_s),
            (told.records_done, told.records_total, records_per_s),
        )
        if total and rate > 0
    ]
    return max(left, default=-1)
