"""What a set of rows is, whatever their order: how many, how large, and a sum of their hashes.

Totals add up: those of parts of a store, split in any way, are those of the store. Each row counts
with BLAKE2b of its key and itself, 128 bits under a salt; the halves are summed mod 2^64 each. Rows
that differ, are missing or are twice there change the sum, but for one chance in 2^128.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from streamer.split.vectors import Numbers, digests, lengths_of

__all__ = ["NOTHING", "Ledger", "Totals", "total"]

_HALF = 1 << 64


class Totals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a set of rows. `size` is the bytes of keys and rows, `sum` the fingerprint in hex."""

    rows: Annotated[int, Meta(ge=0)]
    size: Annotated[int, Meta(ge=0)]
    sum: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]

    def __add__(self, other: Totals) -> Totals:
        high = int(self.sum[:16], 16) + int(other.sum[:16], 16)
        low = int(self.sum[16:], 16) + int(other.sum[16:], 16)
        return _totals(self.rows + other.rows, self.size + other.size, high, low)

    def __sub__(self, other: Totals) -> Totals:
        """What is left without rows that are among these."""
        high = int(self.sum[:16], 16) - int(other.sum[:16], 16)
        low = int(self.sum[16:], 16) - int(other.sum[16:], 16)
        return _totals(self.rows - other.rows, self.size - other.size, high, low)


def _totals(rows: int, size: int, high: int, low: int) -> Totals:
    return Totals(rows, size, f"{high % _HALF:016x}{low % _HALF:016x}")


NOTHING = _totals(0, 0, 0, 0)


def total(several: Iterable[Totals]) -> Totals:
    return reduce(add, several, NOTHING)


class Ledger:
    """Totals of rows by the number of a cell, such as a target."""

    def __init__(self, cells: int, salt: bytes) -> None:
        self._salt = salt
        self._rows = np.zeros(cells, np.int64)
        self._sizes = np.zeros(cells, np.int64)
        # Sums of unsigned numbers wrap around, which is mod 2^64.
        self._sums = np.zeros((2, cells), np.uint64)

    def add(self, cells: Numbers, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        lengths = lengths_of(keys)
        found = digests(keys, rows, self._salt, lengths=lengths)
        sizes = lengths + lengths_of(rows)
        self._rows += np.bincount(cells, minlength=len(self._rows))
        np.add.at(self._sizes, cells, sizes)
        for half in (0, 1):
            np.add.at(self._sums[half], cells, found[:, half])

    def totals(self) -> dict[int, Totals]:
        """Of the cells that have rows."""
        return {
            cell: _totals(
                int(self._rows[cell]),
                int(self._sizes[cell]),
                int(self._sums[1, cell]),
                int(self._sums[0, cell]),
            )
            for cell in np.flatnonzero(self._rows).tolist()
        }
