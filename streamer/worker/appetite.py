"""How many records to take at once: as many as fit the budget of a batch, by their size lately.

`max_poll_records` bounds a batch by number; without a bound by bytes, 10,000 records of a megabyte
would be ten gigabytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer.record import RawBatch

__all__ = ["Appetite"]

# Objects around a record's bytes while it is processed: message, key, value, decoded value.
_RECORD_BYTES = 500
# Before anything was seen, records might be large.
_FIRST_RECORDS = 500


class Appetite:
    """Learns from every fetch; `records_max` is what to ask for next."""

    def __init__(self, bytes_max: int, records_max: int) -> None:
        self._bytes_max = bytes_max
        self._limit = records_max
        self.records_max = min(_FIRST_RECORDS, records_max)

    def saw(self, batches: Sequence[RawBatch]) -> None:
        count = sum(map(len, batches))
        if not count:
            return
        size = sum(sum(map(len, filter(None, batch.values))) for batch in batches)
        mean = size // count + _RECORD_BYTES
        self.records_max = max(min(self._bytes_max // mean, self._limit), 1)
