"""How many records to take at once: as many as fit a budget of bytes and of time, as seen lately.

`max_poll_records` bounds a batch by number; without a bound by bytes, 1,000 records of a megabyte
would be a gigabyte. Without one by time, 1,000 calls of 100 ms each would hold up commits, a
hand-over and a stop for 100 s, and the broker ends a transaction that is open for longer than 60.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer.record import RawBatch

__all__ = ["Appetite"]

# Objects around a record's bytes while it is processed: message, key, value, decoded value.
_RECORD_BYTES = 500
# Before anything was seen, records might be large.
_FIRST_RECORDS = 500
# Before anything was processed, code might be slow: with a tenth of a second each, as a remote call
# takes, the end of a transaction is then far away.
_FIRST_BY_TIME = 100
# Every so-manieth record is measured; the mean of these is near enough.
_SAMPLED = 7
# What a turn may take before the next one gets fewer records.
_TURN_S = 1.0


class Appetite:
    """Learns from every fetch and every turn; `records_max` is what to ask for next."""

    def __init__(self, bytes_max: int, records_max: int) -> None:
        self._bytes_max = bytes_max
        self._limit = records_max
        self._by_bytes = min(_FIRST_RECORDS, records_max)
        self._by_time = min(_FIRST_BY_TIME, records_max)

    @property
    def records_max(self) -> int:
        return min(self._by_bytes, self._by_time)

    def saw(self, batches: Sequence[RawBatch]) -> None:
        count = sum(map(len, batches))
        if not count:
            return
        seen = [value for batch in batches for value in batch.values[::_SAMPLED]]
        mean = sum(map(len, filter(None, seen))) // len(seen) + _RECORD_BYTES
        self._by_bytes = max(min(self._bytes_max // mean, self._limit), 1)

    def took(self, count: int, seconds: float) -> None:
        """A turn has processed so many records in this time."""
        if seconds > _TURN_S:
            self._by_time = max(int(count * _TURN_S / seconds), 1)
        elif seconds < _TURN_S / 2:
            # Not beyond what was seen: a single record in a short turn says little of thousands.
            fitting = int(count * _TURN_S / max(seconds, 1e-6))
            grown = min(self._by_time * 2, self._limit, fitting)
            self._by_time = max(self._by_time, grown)
