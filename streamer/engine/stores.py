"""Stores as user code in `process` sees them.

They are those of the open transaction: what is read includes what was written since the last
commit, and an abort takes it all back. Values are handed out and taken in by their bytes: each
`get` gives an object of its own, and changing it changes nothing before it is `put`. So results do
not depend on where commits fall, nor on what else holds the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamer.engine.sendable import check_time
from streamer.engine.sharing import opener
from streamer.engine.times import StreamTime
from streamer.errors import RAISED_BY_USERS, MisuseError
from streamer.kafka.api import AbortableError
from streamer.record import Record
from streamer.store.cache import Found, KeyValueState, Saved, undecodable
from streamer.store.expiry import is_past_ttl
from streamer.store.keys import window_key
from streamer.topology.serde import Bytes

__all__ = ["KeyValueStore", "Moment", "WindowedStore"]


@dataclass(slots=True)
class Moment:
    """The call of user code that is under way: its number, its record (None in a punctuation),
    stream time, and what to put back if it fails (None where a failure stops the task). `times`
    are those of windowed aggregations by their stores."""

    clock_ms: Callable[[], int]
    call: int = 0
    record: Record | None = None
    stream_time_ms: int = -1
    undo: list[Saved] | None = None
    times: Mapping[str, StreamTime] = field(default_factory=dict)

    @property
    def timestamp_ms(self) -> int:
        if self.record is not None:
            return self.record.timestamp_ms
        return self.stream_time_ms if self.stream_time_ms >= 0 else self.clock_ms()


class _Cells:
    """A store's state, with values as user code has them.

    A store holds bytes, encoded where they were put. One that an aggregation uses holds objects,
    which that changes in place: those are copied on their way in and out.
    """

    def __init__(self, state: KeyValueState, moment: Moment) -> None:
        self.state = state
        self.moment = moment
        encode, decode = state.spec.value.encode, state.spec.value.decode
        self.closed: Callable[[Any], Any] = encode
        self._opened: Callable[[Any], Any] = decode
        if state.serde is not Bytes:
            self.closed = lambda value: decode(encode(value))
            self._opened = opener(state) or (lambda cell: cell)

    def opened(self, raw: bytes, cell: Any) -> Any:
        try:
            return self._opened(cell)
        except AbortableError:
            raise
        except RAISED_BY_USERS as error:
            raise undecodable(self.state.spec, raw, error) from error

    def write(self, raw: bytes, cell: Any, *, forgets: bool = False) -> None:
        """Put a cell; `forgets` what was there, so that its time does not count."""
        moment = self.moment
        if moment.undo is not None:
            moment.undo.append(self.state.saved(raw))
        if forgets:
            self.state.forget(raw)
        self.state.put(raw, cell, moment.timestamp_ms)

    def rows(self, low: bytes, high: bytes | None) -> Iterator[Found]:
        """Rows as of now, for as long as this call goes on."""
        return self._rows(self.state.scan(low, high), self.moment.call)

    def _rows(self, scan: Iterator[Found], call: int) -> Iterator[Found]:
        self._check(call)
        for row in scan:
            yield row
            self._check(call)

    def _check(self, call: int) -> None:
        if self.moment.call != call:
            raise MisuseError(
                f"rows of store {self.state.spec.name!r} were read on after the call that began"
                " to read them",
                hint="begin anew with each record, or keep a list of the rows",
            )


class KeyValueStore:
    """A key-value store of the record's task, as user code sees it."""

    def __init__(self, state: KeyValueState, moment: Moment) -> None:
        self._state = state
        self._cells = _Cells(state, moment)
        self._moment = moment
        self._key = state.spec.key
        self._has_ttl = state.spec.ttl_ms is not None

    def get(self, key: Any) -> Any:
        """The value, or None. To change it, change what you got and `put` that."""
        raw = self._key.encode(key)
        cell = self._state.get(raw)
        if cell is None or (self._has_ttl and self._is_past(raw)):
            return None
        return self._cells.opened(raw, cell)

    def put(self, key: Any, value: Any) -> None:
        """Set a value; None removes the key. It is taken as it is now: what is done to the object
        afterwards is not seen."""
        raw = self._key.encode(key)
        # What cannot be stored must fail here, at its record, and not at the commit.
        cell = None if value is None else self._cells.closed(value)
        is_past = self._has_ttl and self._state.get(raw) is not None and self._is_past(raw)
        self._cells.write(raw, cell, forgets=is_past)

    def delete(self, key: Any) -> Any:
        """Remove a key and return what it held."""
        before = self.get(key)
        self._cells.write(self._key.encode(key), None)
        return before

    def range(self, start: Any = None, end: Any = None) -> Iterator[tuple[Any, Any]]:
        """Keys of [start, end) with their values, in the order of the keys' bytes.

        The rows are those of the moment of the call: what is put or deleted while iterating is not
        seen, and does no harm. They are read as the iteration goes on, whatever their number. An
        iterator serves the record it was made for; going on at a later one raises MisuseError.
        """
        low = b"" if start is None else self._key.encode(start)
        return self._shown(low, None if end is None else self._key.encode(end))

    def prefix(self, prefix: Any) -> Iterator[tuple[Any, Any]]:
        """Keys whose bytes begin with those of `prefix`, as `range` gives them."""
        low = self._key.encode(prefix)
        return self._shown(low, _after(low))

    def _shown(self, low: bytes, high: bytes | None) -> Iterator[tuple[Any, Any]]:
        rows = self._cells.rows(low, high)
        if self._has_ttl:
            spec, now_ms = self._state.spec, self._moment.stream_time_ms
            rows = (row for row in rows if not is_past_ttl(spec, row[2], now_ms))
        decode, opened = self._key.decode, self._cells.opened
        return ((decode(raw), opened(raw, cell)) for raw, cell, _stamp in rows)

    def _is_past(self, raw: bytes) -> bool:
        state = self._state
        return is_past_ttl(state.spec, state.timestamp_of(raw), self._moment.stream_time_ms)


class WindowedStore:
    """A store of values by key and window start, as user code sees it. That of an aggregation
    goes by the aggregation's time, others by the task's."""

    def __init__(self, state: KeyValueState, moment: Moment) -> None:
        spec = state.spec
        self._state = state
        self._cells = _Cells(state, moment)
        self._moment = moment
        self._key = spec.key
        self._kept_ms = (spec.window_size_ms or 0) + (spec.retention_ms or 0)

    def get(self, key: Any, start_ms: int) -> Any:
        """The value of a key's window that begins at `start_ms`, or None."""
        if start_ms < self._kept_from_ms:
            return None
        raw = window_key(start_ms, self._key.encode(key))
        cell = self._state.get(raw)
        return None if cell is None else self._cells.opened(raw, cell)

    def put(self, key: Any, value: Any, start_ms: int) -> None:
        """Set the value of a window; None removes it. Beyond its retention it is not kept.

        Raises ProcessingError for a start that is no time.
        """
        check_time("put(start_ms=...)", start_ms)
        if start_ms < self._kept_from_ms:
            return
        cell = None if value is None else self._cells.closed(value)
        self._cells.write(window_key(start_ms, self._key.encode(key)), cell)

    def between(self, from_ms: int, to_ms: int) -> Iterator[tuple[int, Any, Any]]:
        """(window start ms, key, value) of all windows that begin in [from_ms, to_ms), oldest
        first, read as the rows of `KeyValueStore.range` are."""
        low = window_key(max(from_ms, self._kept_from_ms), b"")
        high = window_key(max(to_ms, 0), b"")
        rows = self._cells.rows(low, high)
        decode, opened = self._key.decode, self._cells.opened
        return (
            (int.from_bytes(raw[:8], "big"), decode(raw[8:]), opened(raw, cell))
            for raw, cell, _stamp in rows
        )

    @property
    def _kept_from_ms(self) -> int:
        """Windows that begin before this are past their retention, removed or not yet."""
        own = self._moment.times.get(self._state.spec.name)
        now_ms = self._moment.stream_time_ms if own is None else own.now_ms
        return max(now_ms - self._kept_ms + 1, 0)


def _after(prefix: bytes) -> bytes | None:
    """The first key behind all keys with this prefix; None where there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return None if not trimmed else trimmed[:-1] + bytes([trimmed[-1] + 1])
