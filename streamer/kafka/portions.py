"""A fetch in portions where records of some topic are large, so that it stays within its memory.

The worker asks for as many records as fit by the size of the last ones. Small ones of one topic may
be followed by large ones of another: then thousands would be taken at once, whatever their size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from streamer.record import RawBatch

__all__ = ["Portions"]

# Objects around a record's bytes: see what the worker's own estimate counts.
_RECORD_BYTES = 500
_SAMPLED = 31
# What records of a topic are taken to be before one of them was seen.
_UNSEEN_BYTES = 8_192


class Portions:
    """Remembers how large the records of each topic are. One portion is what fits `bytes_max` if
    all of them are of the topic with the largest; mostly that is all that was asked for."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._sizes: dict[str, int] = {}
        # Whether all that the last time took was at hand: then there is more.
        self.is_full = False

    def expect(self, topics: Iterable[str]) -> None:
        """These topics are read from now on."""
        for topic in topics:
            self._sizes.setdefault(topic, _UNSEEN_BYTES)

    def take(
        self,
        consume: Callable[[int, float], list[Any]],
        records_max: int,
        timeout_s: float,
        *,
        size: Callable[[list[Any]], int],
    ) -> list[Any]:
        """Up to `records_max` of what `consume` gives within the timeout, no more than fit and
        one portion besides. `size` says how many bytes those of one portion have."""
        self.is_full = True
        largest = max(self._sizes.values(), default=0) + _RECORD_BYTES
        portion = max(self._bytes_max // largest, 1)
        if portion >= records_max:
            return self._taken(consume, records_max, timeout_s)
        deadline = time.monotonic() + timeout_s
        taken: list[Any] = []
        taken_bytes = 0
        while (left := records_max - len(taken)) > 0 and taken_bytes < self._bytes_max:
            asked = min(left, portion)
            found = self._taken(consume, asked, max(deadline - time.monotonic(), 0.0))
            taken += found
            taken_bytes += size(found) + len(found) * _RECORD_BYTES
            if len(found) < asked:
                break
        return taken

    def _taken(
        self, consume: Callable[[int, float], list[Any]], count: int, timeout_s: float
    ) -> list[Any]:
        """What is at hand, and what comes while it waits for the rest."""
        found = consume(count, 0.0)
        if len(found) < count:
            self.is_full = False
            if timeout_s:
                found += consume(count - len(found), timeout_s)
        return found

    def saw(self, batches: Sequence[RawBatch]) -> None:
        """Learn from what was fetched. A topic whose records were large is trusted again slowly."""
        for batch in batches:
            seen = batch.values[::_SAMPLED]
            mean = sum(map(len, filter(None, seen))) // len(seen)
            self._sizes[batch.topic] = max(mean, self._sizes.get(batch.topic, 0) * 7 // 8)
