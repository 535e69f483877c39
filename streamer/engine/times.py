"""`StreamTime`: how far the records of one windowed aggregation have come.

It is the greatest timestamp of the records with a key that have reached it, late ones and those
without a value included, and moves record by record, as in Kafka Streams: what else its task reads
does not count. It is committed with the task's positions, and goes back with an abort.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from streamer.engine.batch import Batch

__all__ = ["StreamTime", "present"]


class StreamTime:
    """-1 before the first record."""

    __slots__ = ("_committed_ms", "_waiting_ms", "now_ms")

    def __init__(self, now_ms: int = -1) -> None:
        self.now_ms = self._committed_ms = self._waiting_ms = now_ms

    def advance(self, batch: Batch) -> Sequence[int]:
        """The time at each row, the row included.

        Rows that a store passes on at a commit have no order of their own, so none of them makes
        another one late: each sees the time before the commit, until `settle`.
        """
        stamps, now_ms = batch.timestamps, self.now_ms
        if not batch.is_whole and None in (batch.raw_keys or ()):
            pairs = zip(stamps, batch.raw_keys or (), strict=True)
            stamps = [-1 if key is None else stamp for stamp, key in pairs]
        if batch.source.is_at_once:
            self._waiting_ms = max(self._waiting_ms, max(stamps))
            return [max(now_ms, stamp) for stamp in stamps]
        times = stamps
        # The source's stream times are its own timestamps where those are in order.
        is_in_order = stamps is batch.source.stream_times or list(stamps) == sorted(stamps)
        if stamps[0] < now_ms or not is_in_order:
            times = list(accumulate(stamps, max, initial=now_ms))[1:]
        self.now_ms = times[-1]
        return times

    def settle(self) -> None:
        """All that is passed on to this aggregation at this commit has come."""
        self.now_ms = max(self.now_ms, self._waiting_ms)

    def committed(self) -> None:
        self._committed_ms = self.now_ms

    def abort(self) -> None:
        self.now_ms = self._waiting_ms = self._committed_ms


def present(times: Sequence[int], batch: Batch) -> Sequence[int]:
    """The times of rows with a key and a value."""
    rows = zip(times, batch.raw_keys or (), batch.values, strict=True)
    return [time for time, key, value in rows if key is not None and value is not None]
