"""The keys that a transaction changed, each with the time that its row will have.

A row has the greatest timestamp of its changes, its removal included. What is done to an absent key
begins anew: it has its own time alone, as it would if a commit lay behind the removal.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

__all__ = ["ANY_TIME_MS", "Stamps"]

# Later than any record.
ANY_TIME_MS = 1 << 63


class Stamps:
    """`times` are of the changes alone; `oldest_ms` is a lower bound of them all."""

    def __init__(self) -> None:
        self.times: dict[bytes, int] = {}
        self.removed: set[bytes] = set()
        self.oldest_ms = ANY_TIME_MS
        self._newest_ms = -1
        # The keys of `times` in order, once a scan asked for them.
        self._ordered: list[bytes] | None = None

    def note(self, key: bytes, time_ms: int, *, begins: bool = False, is_absent: bool) -> None:
        """One change, in order; `begins` where the key was absent before it, `is_absent` where it
        is absent behind it."""
        self._newest_ms = max(self._newest_ms, time_ms)
        self.oldest_ms = min(self.oldest_ms, time_ms)
        before = self.times.get(key)
        if before is None and self._ordered is not None:
            insort(self._ordered, key)
        if is_absent:
            self.removed.add(key)
        else:
            self.removed.discard(key)
        if before is None or begins or time_ms > before:
            self.times[key] = time_ms

    def note_all(self, newest: Mapping[bytes, int], oldest_ms: int, newest_ms: int) -> None:
        """Changes that remove nothing, of keys that were not removed before: the newest time of
        each key; all changes lie between the two bounds."""
        self._ordered = None
        if not newest:
            return
        if oldest_ms >= self._newest_ms:
            self.times.update(newest)
        else:
            times = self.times
            for key, time_ms in newest.items():
                if time_ms > times.get(key, -1):
                    times[key] = time_ms
        self.oldest_ms = min(self.oldest_ms, oldest_ms)
        self._newest_ms = max(self._newest_ms, newest_ms)

    def put_back(self, key: bytes, time_ms: int | None, *, is_removed: bool) -> None:
        """Undo what was noted of a key; None where that was all."""
        self._ordered = None
        if time_ms is None:
            self.times.pop(key, None)
        else:
            self.times[key] = time_ms
        if is_removed:
            self.removed.add(key)
        else:
            self.removed.discard(key)

    def between(self, start: bytes, end: bytes | None) -> Sequence[bytes]:
        """The changed keys of [start, end) in order."""
        if self._ordered is None:
            self._ordered = sorted(self.times)
        keys = self._ordered
        low = bisect_left(keys, start)
        return keys[low : len(keys) if end is None else bisect_left(keys, end, low)]
