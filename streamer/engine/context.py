"""What user code in `process` sees: its record, its stores, the time, and ways to act.

The stores are those of the open transaction: what is read includes what was written since the last
commit, and an abort takes it all back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from streamer.errors import ConfigError
from streamer.record import Headers, Record
from streamer.store.cache import KeyValueState
from streamer.store.expiry import is_past_ttl
from streamer.store.keys import window_key
from streamer.topology.stores import StoreKind

__all__ = ["KeyValueStore", "ProcessContext", "Schedule", "WindowedStore"]


class KeyValueStore:
    """A key-value store of the record's task, as user code sees it."""

    def __init__(self, state: KeyValueState, context: ProcessContext) -> None:
        self._state = state
        self._context = context
        self._key = state.spec.key

    def get(self, key: Any) -> Any:
        """The value, or None."""
        raw = self._key.encode(key)
        value = self._state.get(raw)
        if value is None or self._is_expired(raw):
            return None
        return value

    def put(self, key: Any, value: Any) -> None:
        """Set a value; None removes the key."""
        raw = self._key.encode(key)
        if value is not None:
            # What cannot be stored must fail here, at its record, and not at the commit.
            self._state.encode(value)
        if self._state.get(raw) is not None and self._is_expired(raw):
            self._state.forget(raw)
        self._state.put(raw, value, self._context.timestamp_ms)

    def delete(self, key: Any) -> Any:
        """Remove a key and return what it held."""
        before = self.get(key)
        self._state.put(self._key.encode(key), None, self._context.timestamp_ms)
        return before

    def range(self, start: Any = None, end: Any = None) -> Iterator[tuple[Any, Any]]:
        """Keys of [start, end) with their values, in the order of the keys' bytes."""
        low = b"" if start is None else self._key.encode(start)
        high = None if end is None else self._key.encode(end)
        for raw, value in list(self._state.scan(low, high)):
            if not self._is_expired(raw):
                yield self._key.decode(raw), value

    def prefix(self, prefix: Any) -> Iterator[tuple[Any, Any]]:
        """Keys whose bytes begin with those of `prefix`."""
        low = self._key.encode(prefix)
        for raw, value in list(self._state.scan(low, _after(low))):
            if not self._is_expired(raw):
                yield self._key.decode(raw), value

    def _is_expired(self, raw: bytes) -> bool:
        spec = self._state.spec
        if spec.ttl_ms is None:
            return False
        return is_past_ttl(spec, self._state.row_time(raw), self._context.stream_time_ms)


class WindowedStore:
    """A store of values by key and window start, as user code sees it."""

    def __init__(self, state: KeyValueState, context: ProcessContext) -> None:
        self._state = state
        self._context = context
        self._key = state.spec.key

    def get(self, key: Any, start_ms: int) -> Any:
        """The value of a key's window that begins at `start_ms`, or None."""
        if start_ms < self._kept_from_ms:
            return None
        return self._state.get(window_key(start_ms, self._key.encode(key)))

    def put(self, key: Any, value: Any, start_ms: int) -> None:
        """Set the value of a window; None removes it. Beyond its retention it is not kept."""
        if start_ms < self._kept_from_ms:
            return
        if value is not None:
            self._state.encode(value)
        raw = window_key(start_ms, self._key.encode(key))
        self._state.put(raw, value, self._context.timestamp_ms)

    def between(self, from_ms: int, to_ms: int) -> Iterator[tuple[int, Any, Any]]:
        """(window start ms, key, value) of all windows that begin in [from_ms, to_ms)."""
        low = window_key(max(from_ms, self._kept_from_ms), b"")
        high = window_key(max(to_ms, 0), b"")
        for raw, value in list(self._state.scan(low, high)):
            yield int.from_bytes(raw[:8], "big"), self._key.decode(raw[8:]), value

    @property
    def _kept_from_ms(self) -> int:
        """Windows that begin before this are past their retention, removed or not yet."""
        spec = self._state.spec
        kept_ms = (spec.window_size_ms or 0) + (spec.retention_ms or 0)
        return max(self._context.stream_time_ms - kept_ms + 1, 0)


@dataclass(slots=True)
class Schedule:
    """A function called whenever its time has advanced by `every_ms`; None before the first."""

    every_ms: int
    function: Callable[[int], Any]
    by: Literal["stream", "wall"]
    next_ms: int | None = None
    committed_ms: int | None = None
    is_active: bool = True

    def next_after(self, now_ms: int) -> int:
        """The next multiple of `every_ms`."""
        return now_ms - now_ms % self.every_ms + self.every_ms

    def is_due(self, now_ms: int) -> bool:
        """Whether it is to be called now; then the next time lies after `now_ms`. Times that
        were jumped over are called once, as in Kafka Streams."""
        is_due = self.is_active and self.next_ms is not None and now_ms >= self.next_ms
        if is_due or self.next_ms is None:
            self.next_ms = self.next_after(now_ms)
        return is_due

    def cancel(self) -> None:
        self.is_active = False


class ProcessContext:
    """Given to `process(record, context)`, `open(context)` and nobody else."""

    def __init__(
        self,
        *,
        task: str,
        states: dict[str, KeyValueState],
        wall_time_ms: Callable[[], int],
    ) -> None:
        self.task = task
        self.record: Record | None = None
        self.stream_time_ms = -1
        self.schedules: list[Schedule] = []
        self.may_schedule = True
        self.forwarded: list[tuple[Any, Any, int, Headers]] = []
        self._wall_time_ms = wall_time_ms
        self._stores: dict[str, KeyValueStore | WindowedStore] = {
            name: WindowedStore(state, self)
            if state.spec.kind is StoreKind.WINDOW
            else KeyValueStore(state, self)
            for name, state in states.items()
        }

    @property
    def timestamp_ms(self) -> int:
        """The record's timestamp; inside a punctuation, stream time."""
        return self.stream_time_ms if self.record is None else self.record.timestamp_ms

    @property
    def wall_time_ms(self) -> int:
        return self._wall_time_ms()

    def store(self, name: str) -> Any:
        """One of the stores that were named in `stores=[...]`. Raises ConfigError for others."""
        try:
            return self._stores[name]
        except KeyError:
            raise ConfigError(
                f"this step has no store {name!r}; it has {sorted(self._stores)}",
                hint="name it in process(..., stores=[...])",
            ) from None

    def forward(
        self,
        *,
        value: Any,
        key: Any = ...,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Pass a record on. What is left out is as in the record that is being processed."""
        record = self.record
        self.forwarded.append(
            (
                (None if record is None else record.key) if key is ... else key,
                value,
                self.timestamp_ms if timestamp_ms is None else timestamp_ms,
                (list(record.headers) if record else []) if headers is None else headers,
            )
        )

    def schedule(
        self,
        every: timedelta,
        function: Callable[[int], Any],
        *,
        by: Literal["stream", "wall"] = "stream",
    ) -> Schedule:
        """Call `function(now_ms)` whenever stream time (or wall-clock time) passes a multiple of
        `every`. To be called in `open`; the returned schedule can be cancelled."""
        if not self.may_schedule:
            raise ConfigError(
                "schedule() was called outside open(context)",
                hint="make the processor a class with open: only what is scheduled there is"
                " scheduled again after a restart",
            )
        every_ms = every // timedelta(milliseconds=1)
        if every_ms <= 0 or by not in ("stream", "wall"):
            raise ConfigError(f"schedule(every={every!r}, by={by!r}) is not possible")
        entry = Schedule(every_ms, function, by)
        self.schedules.append(entry)
        return entry


def _after(prefix: bytes) -> bytes | None:
    """The first key behind all keys with this prefix; None where there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return None if not trimmed else trimmed[:-1] + bytes([trimmed[-1] + 1])
