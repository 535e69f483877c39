"""What a feed begins with where a changelog does not reach back to its begin: a task's rows as they
once were, as a snapshot has them. They are fed like records, and then the changelogs from there on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from streamer.ids import TopicPartition
from streamer.record import RawBatch
from streamer.store.keys import timestamp
from streamer.store.reading import Block

__all__ = ["Seed", "Sowing"]


class Seed(Protocol):
    """Of one old task. Used by the thread of its feed."""

    @property
    def positions(self) -> Mapping[str, int]:
        """By store, where its changelog goes on."""
        ...

    @property
    def as_of_ms(self) -> int:
        """When all removals before those positions had been made, in ms since 1970."""
        ...

    def blocks(self, store: str) -> Iterator[Block]:
        """The rows of a store by their keys: the same ones each time."""
        ...

    def close(self) -> None:
        """Let go of what was fetched of it. May be called twice."""


class Sowing:
    """The rows of one store that are still to be fed, after those that were."""

    def __init__(self, seed: Seed, store: str, place: TopicPartition, *, fed: int) -> None:
        """`place` is the task's partition of the old changelog, in which they lay once."""
        self.store = store
        self._place = place
        self._blocks = _behind(seed.blocks(store), fed)

    def next(self) -> RawBatch | None:
        """Some of them; None behind the last one."""
        block = next(self._blocks, None)
        if block is None:
            return None
        return RawBatch(
            topic=self._place.topic,
            partition=self._place.partition,
            keys=block.keys,
            values=block.rows,
            timestamps=[timestamp(row) for row in block.rows],
            # Of no record any more: for messages about a row.
            offsets=[0] * len(block.keys),
        )


def _behind(blocks: Iterator[Block], fed: int) -> Iterator[Block]:
    for keys, rows in blocks:
        if fed < len(keys):
            yield Block(keys[fed:], rows[fed:])
        fed = max(fed - len(keys), 0)
