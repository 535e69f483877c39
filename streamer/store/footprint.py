"""How much memory the values of an open transaction take, by a sample of them.

Counting exactly would cost as much as encoding every value. What counts is that a transaction of
large values is committed early, and one of small values is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

__all__ = ["Footprint"]

# What a touched key costs beside its value: its bytes, its entries in three dictionaries.
_KEY_BYTES = 400
# Python's objects, the encoded value and the row of it stand side by side at a commit.
_TIMES = 4
_SAMPLED = 8
_CALLS_PER_SAMPLE = 16


class Footprint:
    """Estimates for one store. A sample is taken anew when the transaction has grown by a quarter,
    and now and then, since values may grow in place."""

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self._encode = encode
        self._count = 0
        self._calls = 0
        self._value_bytes = 0

    def estimate(self, values: Mapping[bytes, Any]) -> int:
        """The bytes in memory."""
        count = len(values)
        self._calls += 1
        is_new = not self._count <= count <= self._count + self._count // 4
        if is_new or self._calls >= _CALLS_PER_SAMPLE:
            self._count, self._calls = count, 0
            # Those touched first are often the ones touched most, and so the largest.
            newest = reversed(values.values())  # type: ignore[call-overload]
            self._value_bytes = max(self._mean(values.values()), self._mean(newest))
        return count * (_KEY_BYTES + _TIMES * self._value_bytes)

    def _mean(self, values: Iterable[Any]) -> int:
        total = 0
        sample = [value for value in islice(values, _SAMPLED) if value is not None]
        for value in sample:
            # What cannot be encoded is told by the commit, with the key it belongs to.
            with suppress(Exception):
                total += len(self._encode(value))
        return total // max(len(sample), 1)
