"""How fast a step is, since when it stands still, and when it will be done: from what it told."""

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
    """Adds rates, the time that is left and when it last moved to what a step tells. One for each
    run of a step; `before` is what an earlier run of it told last: one that is begun again and
    again, and comes no further, stands still."""

    def __init__(self, clock: Clock, before: ProgressRecord | None = None) -> None:
        self._clock = clock
        self._before = before
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
        wall_ms, before = self._clock.now_ms(), self._before
        is_still = before is not None and _amounts(before) == _amounts(told)
        self._before = msgspec.structs.replace(
            told,
            bytes_per_s=rates[0],
            records_per_s=rates[1],
            eta_s=_left(told, *rates),
            moved_ms=(before.moved_ms if before is not None and is_still else 0) or wall_ms,
            at_ms=wall_ms,
        )
        return self._before

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


def _amounts(told: ProgressRecord) -> tuple[str, int, int, int]:
    return told.phase, told.number, told.bytes_done, told.records_done


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
