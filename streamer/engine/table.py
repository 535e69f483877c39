"""Tables: keep the newest value of each key, and look stream records up in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamer.engine.aggregate import Drop
from streamer.engine.batch import Batch
from streamer.engine.node import Operator
from streamer.engine.policy import Policy
from streamer.engine.sharing import opener
from streamer.errors import RAISED_BY_USERS
from streamer.kafka.api import AbortableError
from streamer.store.cache import KeyValueState, UnreadableKeysError, newest_times, undecodable
from streamer.store.expiry import is_past_ttl
from streamer.store.keys import key_decoder

__all__ = ["JoinOperator", "TableOperator"]

_NO_MATCH = object()


class TableOperator(Operator):
    """Writes each record into the store; None removes its key. Passes every change on.

    The store holds bytes: what is done to a value that was passed on is not seen there.
    """

    def __init__(self, name: str, policy: Policy, *, state: KeyValueState, drop: Drop) -> None:
        super().__init__(name, policy)
        self.state = state
        self._encode = state.spec.value.encode
        self._drop = drop
        self._checked_key = key_decoder(state.spec)

    def run(self, batch: Batch) -> None:
        assert batch.raw_keys is not None
        if None in batch.raw_keys:
            kept = [row for row, key in enumerate(batch.raw_keys) if key is not None]
            self._drop("null_key", len(batch) - len(kept))
            batch = batch.take(kept)
        keys: Sequence[bytes] = batch.raw_keys or ()
        cells, left = self.call(_nullable(self._encode, batch.values), batch, batch.values)
        if left is not None:
            batch = batch.take(left)
            keys = batch.raw_keys or ()
        if keys:
            # A row keeps the greatest timestamp it has seen, for which the old row is needed.
            times = batch.timestamps
            newest = newest_times(keys, times, is_in_order=times is batch.source.stream_times)
            try:
                self.state.load(newest, decode_key=self._checked_key)
            except UnreadableKeysError as unreadable:
                self.run(batch.take(self.refuse_keys(batch, keys, unreadable.errors)))
                return
            if self.state.has_removed or None in cells:
                for key, cell, time_ms in zip(keys, cells, times, strict=True):
                    self.state.put(key, cell, time_ms)
            else:
                self.state.values.update(zip(keys, cells, strict=True))
                self.state.touch(newest, min(times), max(times))
        self.forward(batch)

    def abort(self) -> None:
        self.state.abort()


class JoinOperator(Operator):
    """Looks each record's key up in a table of the same task.

    As in Kafka Streams, records without a value are dropped, and those without a key too unless
    the join is a left one.
    """

    def __init__(
        self,
        name: str,
        policy: Policy,
        *,
        state: KeyValueState,
        view: Callable[[Any, Any], Any] | None,
        joiner: Callable[[Any, Any], Any],
        is_left: bool,
        drop: Drop,
    ) -> None:
        super().__init__(name, policy)
        self.state = state
        self._open = opener(state)
        self._view = view
        self._joiner = joiner
        self._is_left = is_left
        self._drop = drop

    def run(self, batch: Batch) -> None:
        batch = self._without_nulls(batch)
        found = self._look_up(batch)
        rows, left = self.call(self._joined, batch, batch.keys, batch.values, found)
        places = range(len(batch)) if left is None else left
        kept = [
            (place, value)
            for place, value in zip(places, rows, strict=True)
            if value is not _NO_MATCH
        ]
        if len(kept) == len(batch):
            self.forward(batch.with_values([value for _place, value in kept]))
            return
        joined = batch.take([place for place, _value in kept])
        self.forward(joined.with_values([value for _place, value in kept]))

    def _without_nulls(self, batch: Batch) -> Batch:
        assert batch.raw_keys is not None
        if batch.is_whole or (None not in batch.raw_keys and None not in batch.values):
            return batch
        with_key = [
            row for row, key in enumerate(batch.raw_keys) if self._is_left or key is not None
        ]
        kept = [row for row in with_key if batch.values[row] is not None]
        self._drop("null_key", len(batch) - len(with_key))
        self._drop("null_value", len(with_key) - len(kept))
        return batch.take(kept)

    def _look_up(self, batch: Batch) -> list[Any]:
        state = self.state
        keys = [key for key in batch.raw_keys or () if key is not None]
        state.load(keys)
        values = state.values
        found = [None if key is None else values[key] for key in batch.raw_keys or ()]
        if state.spec.ttl_ms is None:
            return self._opened(batch, found)
        times = batch.source.stream_times
        for row, key in enumerate(batch.raw_keys or ()):
            if found[row] is not None and is_past_ttl(
                state.spec, state.timestamp_of(key), times[batch.index[row]]
            ):
                found[row] = None
        return self._opened(batch, found)

    def _opened(self, batch: Batch, cells: list[Any]) -> list[Any]:
        """Rows that are each their record's own, since the joiner may change them."""
        if self._open is None:
            return cells
        rows: list[Any] = []
        try:
            rows.extend(map(_nullable(self._open, cells), cells))
        except AbortableError:
            raise
        except RAISED_BY_USERS as error:
            assert batch.raw_keys is not None
            key = batch.raw_keys[len(rows)] or b""
            raise undecodable(self.state.spec, key, error) from error
        return rows

    def _joined(self, key: Any, value: Any, stored: Any) -> Any:
        row = stored
        if row is not None and self._view is not None:
            row = self._view(key, row)
        if row is None and not self._is_left:
            return _NO_MATCH
        return self._joiner(value, row)


def _nullable(function: Callable[[Any], Any], column: Sequence[Any]) -> Callable[[Any], Any]:
    """The function itself, or one that lets None pass where the column has some."""
    if not any(item is None for item in column):
        return function
    return lambda item: None if item is None else function(item)
