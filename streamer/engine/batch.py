"""`Batch`: records on their way through the nodes, as columns of equal length.

`index` says which record of the source batch each row came from. It is what keeps a batch exact:
merged branches and outputs of several sinks are put back into record order by it, errors find their
topic, partition and offset, and the task's stream time at a record is
`Source.stream_times[index]`.
Columns are never changed in place: nodes share them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamer.record import Headers, RawBatch

__all__ = ["Batch", "Order", "Source", "flushed", "spread_order", "store_results"]

Order = tuple[int, ...]


@dataclass(slots=True)
class Source:
    """The source records of one run through the nodes; `raw` is None for results that no single
    record made. `is_at_once` says that a store passes them on at a commit: they have no order."""

    raw: RawBatch | None
    stream_times: Sequence[int]
    is_at_once: bool = False


def flushed(stream_time_ms: int, count: int, *, is_at_once: bool = False) -> Source:
    """The source of results that no single record made: they come at the task's stream time."""
    return Source(None, [stream_time_ms] * count, is_at_once)


def store_results(
    stream_time_ms: int,
    raw_keys: Sequence[bytes],
    values: Sequence[Any],
    *,
    timestamps: Sequence[int],
    payloads: Sequence[bytes | None],
    decode_key: Callable[[bytes], Any],
) -> Batch:
    """What a store passes on by itself, at a commit or when windows close."""
    return Batch(
        source=flushed(stream_time_ms, len(raw_keys), is_at_once=True),
        values=values,
        timestamps=timestamps,
        index=range(len(raw_keys)),
        raw_keys=raw_keys,
        decode_key=decode_key,
        payloads=payloads,
    )


@dataclass(slots=True)
class Batch:
    """Rows: a decoded value, a timestamp, and the key as bytes, decoded, or both.

    `payloads` are the values' encoded bytes where they are known, so that a sink of the same serde
    need not encode again. `is_whole` says that no key and no value is None. `order` tells rows of
    one record apart, where that matters: by the record, then by the row it was spread to.
    """

    source: Source
    values: Sequence[Any]
    timestamps: Sequence[int]
    index: Sequence[int]
    raw_keys: Sequence[bytes] | None = None
    decode_key: Callable[[bytes], Any] | None = None
    payloads: Sequence[bytes | None] | None = None
    headers: Sequence[Headers] | None = None
    is_whole: bool = False
    order: Sequence[Order] | None = None
    _keys: Sequence[Any] | None = field(default=None)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def keys(self) -> Sequence[Any]:
        """Decoded keys; decoded on first use, since many applications never look at them."""
        if self._keys is None:
            assert self.raw_keys is not None
            decode = self.decode_key
            if decode is None:
                self._keys = self.raw_keys
            else:
                self._keys = [None if key is None else decode(key) for key in self.raw_keys]
        return self._keys

    def headers_at(self, row: int) -> Headers:
        if self.headers is not None:
            return self.headers[row]
        raw = self.source.raw
        if raw is None:
            return []
        return raw.headers_at(self.index[row])

    @property
    def places(self) -> Sequence[Order]:
        """What puts rows of several batches of one source back into order."""
        return [(place,) for place in self.index] if self.order is None else self.order

    def spread(self, rows: Sequence[int], *, keeps_order: bool) -> Batch:
        """As `take`, with several rows for one; `keeps_order` tells them apart."""
        batch = self.take(rows)
        if keeps_order:
            batch.order = spread_order(self.places, rows)
        return batch

    def take(self, rows: Sequence[int]) -> Batch:
        """The rows at these places, in this order."""
        return Batch(
            source=self.source,
            values=[self.values[row] for row in rows],
            timestamps=[self.timestamps[row] for row in rows],
            index=[self.index[row] for row in rows],
            raw_keys=_take(self.raw_keys, rows),
            decode_key=self.decode_key,
            payloads=_take(self.payloads, rows),
            headers=_take(self.headers, rows),
            order=_take(self.order, rows),
            is_whole=self.is_whole,
            _keys=_take(self._keys, rows),
        )

    def with_values(self, values: Sequence[Any]) -> Batch:
        """The same rows with other values."""
        return Batch(
            source=self.source,
            values=values,
            timestamps=self.timestamps,
            index=self.index,
            raw_keys=self.raw_keys,
            decode_key=self.decode_key,
            headers=self.headers,
            order=self.order,
            _keys=self._keys,
        )

    def rekeyed(self, keys: Sequence[Any], values: Sequence[Any]) -> Batch:
        """The same rows under other keys, whose bytes are no longer known."""
        return Batch(
            source=self.source,
            values=values,
            timestamps=self.timestamps,
            index=self.index,
            headers=self.headers,
            order=self.order,
            _keys=keys,
        )


def spread_order(places: Sequence[Order], rows: Sequence[int]) -> list[Order]:
    """The order of rows that were made from those at `rows`."""
    order: list[Order] = []
    number = 0
    for at, row in enumerate(rows):
        number = number + 1 if at and rows[at - 1] == row else 0
        order.append((*places[row], number))
    return order


def _take(column: Sequence[Any] | None, rows: Sequence[int]) -> list[Any] | None:
    return None if column is None else [column[row] for row in rows]
