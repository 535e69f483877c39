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


@dataclass(slots=True)
class RawBatch:
    """Consecutive records of one topic partition, undecoded, as columns of equal length.

    `read_headers` gives the column of headers, where there is one: most applications never look.
    """

    topic: str
    partition: int
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    timestamps: Sequence[int]
    offsets: Sequence[int]
    read_headers: Callable[[], Sequence[Headers | None]] | None = None
    _headers: Sequence[Headers | None] | None = None

    @property
    def headers(self) -> Sequence[Headers | None] | None:
        """The headers of all records, None if not one has any; found out once, on first use."""
        if self.read_headers is not None:
            found = self.read_headers()
            self._headers = found if any(found) else None
            self.read_headers = None
        return self._headers

    def headers_at(self, row: int) -> Headers:
        """The headers of one record, by its place."""
        headers = self.headers
        return [] if headers is None else list(headers[row] or ())

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def position(self) -> int:
        """The position after this batch: the next offset to read."""
        return self.offsets[-1] + 1

    def part(self, start: int, end: int) -> RawBatch:
        """The records [start, end) as a batch of their own."""
        if start == 0 and end == len(self):
            return self
        return RawBatch(
            topic=self.topic,
            partition=self.partition,
            keys=self.keys[start:end],
            values=self.values[start:end],
            timestamps=self.timestamps[start:end],
            offsets=self.offsets[start:end],
            read_headers=lambda: (self.headers or ())[start:end],
        )

    def take(self, rows: Sequence[int]) -> RawBatch:
        """These rows, in their order, as a batch of their own."""
        if len(rows) == len(self):
            return self
        return RawBatch(
            topic=self.topic,
            partition=self.partition,
            keys=[self.keys[row] for row in rows],
            values=[self.values[row] for row in rows],
            timestamps=[self.timestamps[row] for row in rows],
            offsets=[self.offsets[row] for row in rows],
            read_headers=lambda: [(self.headers or [None] * len(self))[row] for row in rows],
        )
