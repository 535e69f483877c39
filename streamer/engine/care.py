"""Folding with care: what a record that fails did to aggregates is taken back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from streamer.engine.fold import Cells, Loop, Rows, Told
from streamer.errors import RAISED_BY_USERS

__all__ = ["Done", "careful", "isolated", "take_back"]

# The last rows that were folded, each with its aggregate's bytes before it.
Done = deque[tuple[bytes, bytes | None]]


def careful(
    loop: Loop, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any], *, done: Done
) -> Loop:
    """The loop, so that a row which fails leaves its aggregate as it was, and a result that
    cannot be stored fails at its record. `done` is told of each row that does not."""

    def each(cells: Cells, rows: Rows, told: Told) -> None:
        for row in rows:
            before = cells[row[0]]
            saved = None if before is None else encode(before)
            try:
                loop(cells, (row,), told)
                after = cells[row[0]]
                if after is not None:
                    encode(after)
            except RAISED_BY_USERS:
                cells[row[0]] = None if saved is None else decode(saved)
                raise
            done.append((row[0], saved))

    return each


def take_back(cells: Cells, done: Done, *, count: int, decode: Callable[[bytes], Any]) -> None:
    """Give the aggregates of the last rows, of so many keys, the values back that they had."""
    for _ in range(count):
        row_key, saved = done.pop()
        cells[row_key] = None if saved is None else decode(saved)


def isolated(loop: Loop, own: Callable[[Any], Any]) -> Loop:
    """The loop, with each aggregate made an object of its own once it is computed: neither what
    another step does to a value, nor what is done to an aggregate, is seen by the other."""

    def each(cells: Cells, rows: Rows, told: Told) -> None:
        for row in rows:
            loop(cells, (row,), told)
            after = cells[row[0]]
            if after is not None:
                cells[row[0]] = own(after)

    return each
