"""Which records of a batch are at home where they were found. Pure.

A topic that was grown is read by as many tasks as it has partitions, and a key is at home in the
partition that its producers' partitioner gives for that number. Records without a key are at home
anywhere: there is no order between them to keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from streamer.errors import ProcessingError
from streamer.record import RawBatch
from streamer.split.homes import Homes

__all__ = ["Sorted", "sort"]


class Sorted(NamedTuple):
    """By row: the homes of `strays`, and why a declared partitioner fails for those that are
    `lost`."""

    strays: dict[int, int]
    lost: dict[int, ProcessingError]


def sort(batch: RawBatch, homes: Homes) -> Sorted:
    # With numpy, which only who may have strays needs.
    from streamer.split.vectors import tasks_of

    rows = [row for row, key in enumerate(batch.keys) if key is not None]
    lost: dict[int, ProcessingError] = {}
    try:
        (numbers,) = tasks_of([batch.keys[row] or b"" for row in rows], homes)
        found = dict(zip(rows, numbers.tolist(), strict=True))
    except ProcessingError:
        found, lost = _one_by_one(batch, rows, homes)
    return Sorted({row: home for row, home in found.items() if home != batch.partition}, lost)


def _one_by_one(
    batch: RawBatch, rows: Sequence[int], homes: Homes
) -> tuple[dict[int, int], dict[int, ProcessingError]]:
    found: dict[int, int] = {}
    lost: dict[int, ProcessingError] = {}
    for row in rows:
        try:
            found[row] = homes.home(batch.keys[row] or b"")
        except ProcessingError as error:
            lost[row] = error
    return found, lost
