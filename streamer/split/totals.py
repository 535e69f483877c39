"""Totals of a set of rows, whatever their order: how many, how large, and a sum of their hashes.

They add up: those of parts of a store, split in any way, are those of the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["NOTHING", "Totals", "total", "totals"]

_HALF = 1 << 64


class Totals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a set of rows. `size` is the bytes of keys and rows, `sum` the fingerprint in hex."""

    rows: Annotated[int, Meta(ge=0)]
    size: Annotated[int, Meta(ge=0)]
    sum: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]

    def __add__(self, other: Totals) -> Totals:
        high = int(self.sum[:16], 16) + int(other.sum[:16], 16)
        low = int(self.sum[16:], 16) + int(other.sum[16:], 16)
        return totals(self.rows + other.rows, self.size + other.size, high=high, low=low)

    def __sub__(self, other: Totals) -> Totals:
        """What is left without rows that are among these."""
        high = int(self.sum[:16], 16) - int(other.sum[:16], 16)
        low = int(self.sum[16:], 16) - int(other.sum[16:], 16)
        return totals(self.rows - other.rows, self.size - other.size, high=high, low=low)


def totals(rows: int, size: int, *, high: int, low: int) -> Totals:
    """With the sum's halves, which wrap around."""
    return Totals(rows, size, f"{high % _HALF:016x}{low % _HALF:016x}")


NOTHING = totals(0, 0, high=0, low=0)


def total(several: Iterable[Totals]) -> Totals:
    return reduce(add, several, NOTHING)
