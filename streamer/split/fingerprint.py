"""The fingerprint of a set of rows: what `Totals` are counted with.

Each row counts with XXH3 of its key and itself, 128 bits under a seed of the operation's salt; the
halves are summed mod 2^64 each. Rows that differ, are missing or are twice there change the sum,
but for one chance in 2^128. It tells faults, not somebody who forges rows: who can write to the
copy of a state can write to the state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.split.totals import Totals, totals
from streamer.split.vectors import Numbers, digests, lengths_of, seed_of

__all__ = ["Ledger"]


class Ledger:
    """Totals of rows by the number of a cell, such as a target."""

    def __init__(self, cells: int, salt: bytes) -> None:
        self._seed = seed_of(salt)
        self._rows = np.zeros(cells, np.int64)
        self._sizes = np.zeros(cells, np.int64)
        # Sums of unsigned numbers wrap around, which is mod 2^64.
        self._sums = np.zeros((2, cells), np.uint64)

    def add(self, cells: Numbers, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        lengths = lengths_of(keys)
        found = digests(keys, rows, self._seed, lengths=lengths)
        sizes = lengths + lengths_of(rows)
        self._rows += np.bincount(cells, minlength=len(self._rows))
        np.add.at(self._sizes, cells, sizes)
        for half in (0, 1):
            np.add.at(self._sums[half], cells, found[:, half])

    def totals(self) -> dict[int, Totals]:
        """Of the cells that have rows."""
        return {
            cell: totals(
                int(self._rows[cell]),
                int(self._sizes[cell]),
                high=int(self._sums[1, cell]),
                low=int(self._sums[0, cell]),
            )
            for cell in np.flatnonzero(self._rows).tolist()
        }
