"""Which records of a batch are at home where they were found. Pure.

A topic that was grown is read by as many tasks as it has partitions, and a key is at home in the
partition that its producers' partitioner gives for that number. Records without a key are at home
anywhere: there is no order between them to keep.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer.record import RawBatch
from streamer.split.homes import Homes

__all__ = ["chosen", "strays_in"]


def strays_in(batch: RawBatch, homes: Homes) -> dict[int, int]:
    """The rows that are strays, with their homes.

    Raises ProcessingError where a declared partitioner fails.
    """
    # With numpy, which only who may have strays needs.
    from streamer.split.vectors import tasks_of

    rows = [row for row, key in enumerate(batch.keys) if key is not None]
    (found,) = tasks_of([batch.keys[row] or b"" for row in rows], homes)
    own = batch.partition
    return {row: home for row, home in zip(rows, found.tolist(), strict=True) if home != own}


def chosen(batch: RawBatch, rows: Sequence[int]) -> RawBatch:
    """These rows, in their order, as a batch of their own."""
    if len(rows) == len(batch):
        return batch
    return RawBatch(
        topic=batch.topic,
        partition=batch.partition,
        keys=[batch.keys[row] for row in rows],
        values=[batch.values[row] for row in rows],
        timestamps=[batch.timestamps[row] for row in rows],
        offsets=[batch.offsets[row] for row in rows],
        read_headers=lambda: [(batch.headers or [None] * len(batch))[row] for row in rows],
    )
