"""How far a restore has come, and how fast it goes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Rate", "RestoreProgress", "Tally"]

WINDOW_MS = 10_000


@dataclass(frozen=True, slots=True)
class RestoreProgress:
    """`remaining_offsets` is -1 until the ends are known, and 0 exactly when all is restored.

    It counts offsets, which compaction, aborted records and transaction markers also take; so it
    may fall faster than `restored_records` rises. `eta_s` is None where it cannot be told.
    """

    restored_records: int = 0
    remaining_offsets: int = -1
    restored_bytes: int = 0
    records_per_second: float = 0.0
    eta_s: float | None = None


class Rate:
    """Offsets and records per second over the last seconds, from the first that came on."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int, int]] = deque()

    def add(self, now_ms: int, *, records: int, offsets: int) -> None:
        """Note the totals so far."""
        self._marks.append((now_ms, records, offsets))
        while len(self._marks) > 2 and self._marks[1][0] < now_ms - WINDOW_MS:
            self._marks.popleft()

    @property
    def records_per_second(self) -> float:
        return self._per_second(1)

    def eta_s(self, remaining_offsets: int) -> float | None:
        if remaining_offsets <= 0:
            return 0.0 if remaining_offsets == 0 else None
        offsets_per_second = self._per_second(2)
        return remaining_offsets / offsets_per_second if offsets_per_second else None

    def _per_second(self, column: int) -> float:
        if not self._marks:
            return 0.0
        first, last = self._marks[0], self._marks[-1]
        elapsed_ms = last[0] - first[0]
        return (last[column] - first[column]) * 1000 / elapsed_ms if elapsed_ms else 0.0


class Tally:
    """What a restore has read since it began, or was promoted."""

    def __init__(self) -> None:
        self._records = self._offsets = self._bytes = 0
        self._rate = Rate()

    def add(self, records: int, size_bytes: int) -> None:
        self._records += records
        self._bytes += size_bytes

    def advance(self, offsets: int, now_ms: int, *, is_rated: bool) -> None:
        """What a copy reads while it follows has no rate worth telling."""
        self._offsets += offsets
        if is_rated:
            self._rate.add(now_ms, records=self._records, offsets=self._offsets)

    def settle(self) -> None:
        """A copy has arrived: what it reads from now on is as fast as it is written."""
        self._rate = Rate()

    def progress(self, left: int) -> RestoreProgress:
        return RestoreProgress(
            restored_records=self._records,
            remaining_offsets=left,
            restored_bytes=self._bytes,
            records_per_second=self._rate.records_per_second,
            eta_s=self._rate.eta_s(left),
        )
