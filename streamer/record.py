"""Records: `Record` is what user code sees; `RawBatch` is what the engine moves.

A `RawBatch` holds consecutive records of one topic partition as columns, because one list
operation over a column costs a tenth of a Python loop over objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamer.ids import TopicPartition

__all__ = ["Headers", "RawBatch", "Record"]

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Record:
    """One record with decoded key and value. `timestamp_ms` is milliseconds since 1970 UTC."""

    key: Any
    value: Any
    timestamp_ms: int
    headers: Headers = field(default_factory=list)
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None


def _no_headers(_index: int) -> Headers:
    return []


@dataclass(slots=True)
class RawBatch:
    """Consecutive records of one topic partition, undecoded, as columns of equal length.

    `headers_at` fetches the headers of one record by its index: most applications never look.
    """

    topic: str
    partition: int
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    timestamps: Sequence[int]
    offsets: Sequence[int]
    headers_at: Callable[[int], Headers] = _no_headers
    _has_headers: bool | None = None

    @property
    def has_headers(self) -> bool:
        """Whether any record has headers; found out once, on first use."""
        if self._has_headers is None:
            self._has_headers = any(map(self.headers_at, range(len(self.offsets))))
        return self._has_headers

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def position(self) -> int:
        """The position after this batch: the next offset to read."""
        return self.offsets[-1] + 1

    def part(self, start: int, end: int) -> RawBatch:
        """The records [start, end) as a batch of their own."""
        if start == 0 and end == len(self.offsets):
            return self
        outer = self.headers_at
        return RawBatch(
            topic=self.topic,
            partition=self.partition,
            keys=self.keys[start:end],
            values=self.values[start:end],
            timestamps=self.timestamps[start:end],
            offsets=self.offsets[start:end],
            headers_at=lambda index: outer(start + index),
        )
