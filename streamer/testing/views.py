"""What the driver shows of stores: their committed values, decoded, over all tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamer.errors import TopologyError
from streamer.store.expiry import Expiry, is_past_ttl
from streamer.store.keys import (
    payload,
    session_key,
    session_parts,
    timestamp,
    window_key,
    window_parts,
)
from streamer.store.rocks import TaskDatabase
from streamer.task.active import ActiveTask
from streamer.testing.moments import Moment, milliseconds_of
from streamer.topology.serde import Serde
from streamer.topology.stores import StoreKind, StoreSpec
from streamer.topology.windows import Windowed

__all__ = ["Part", "StoreView", "shown_key"]


@dataclass(frozen=True, slots=True)
class Part:
    """One task's share of a store, the stream time of its last commit, and before which time the
    store's windows and sessions are past their retention."""

    database: TaskDatabase
    stream_time_ms: int
    expired_before_ms: int

    @classmethod
    def of(cls, active: ActiveTask, spec: StoreSpec) -> Part:
        """By what queries over HTTP go by: a database that was restored has yet to be told."""
        now_ms = active.committed_time_ms
        own_ms = active.committed_times.get(spec.name, now_ms)
        return cls(active.database, now_ms, Expiry(spec, active.database).bound_ms(own_ms))


def shown_key(spec: StoreSpec, key: Serde[Any], stored_key: bytes) -> Any:
    """A row's key as users know it: of windows and sessions a Windowed."""
    if spec.kind is StoreKind.KEY_VALUE:
        return key.decode(stored_key)
    if spec.kind is StoreKind.WINDOW:
        start_ms, raw = window_parts(stored_key)
        return Windowed(key.decode(raw), start_ms, start_ms + (spec.window_size_ms or 0))
    raw, start_ms, end_ms = session_parts(stored_key)
    return Windowed(key.decode(raw), start_ms, end_ms)


class StoreView(Mapping[Any, Any]):
    """A store as a read-only mapping of committed values.

    view["ann"]                                     key-value stores
    view.fetch("ann", "2026-01-01T01:00Z")          a key's window, or session, by its start
    view.items()                                    of windows and sessions the keys are Windowed
    """

    def __init__(
        self, spec: StoreSpec, parts: Sequence[Part], *, key: Serde[Any], value: Serde[Any]
    ) -> None:
        self._spec = spec
        self._parts = parts
        self._key = key
        self._value = value

    def __getitem__(self, key: Any) -> Any:
        stored_key = self._stored_key(key)
        for part in self._parts:
            row = part.database.get(self._spec.name, stored_key)
            if row is not None and not self._is_past(stored_key, row, part):
                return self._value.decode(payload(row))
        raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _value in self._rows(b"", None))

    def __len__(self) -> int:
        return sum(1 for _row in self._rows(b"", None))

    def __repr__(self) -> str:
        return f"StoreView({self._spec.name!r}, {dict(self)!r})"

    def range(self, start: Any = None, end: Any = None) -> list[tuple[Any, Any]]:
        """Keys of [start, end) with their values, in the order of the keys' bytes."""
        self._require(StoreKind.KEY_VALUE, "range")
        low = b"" if start is None else self._key.encode(start)
        return list(self._rows(low, None if end is None else self._key.encode(end)))

    def fetch(self, key: Any, start: Moment) -> Any:
        """The value of a key's window or session that begins at `start`, or None."""
        start_ms = milliseconds_of(start)
        if self._spec.kind is StoreKind.SESSION:
            found = [value for one, value in self.sessions(key) if one.start_ms == start_ms]
            return found[0] if found else None
        self._require(StoreKind.WINDOW, "fetch")
        return self.get(Windowed(key, start_ms, start_ms + (self._spec.window_size_ms or 0)))

    def sessions(self, key: Any) -> list[tuple[Windowed, Any]]:
        """All sessions of a key, oldest first."""
        self._require(StoreKind.SESSION, "sessions")
        return sorted((one, value) for one, value in self.items() if one.key == key)

    def timestamp_ms(self, key: Any) -> int:
        """The event time of a key's row: the latest of the records that went into it."""
        stored_key = self._stored_key(key)
        for part in self._parts:
            row = part.database.get(self._spec.name, stored_key)
            if row is not None and not self._is_past(stored_key, row, part):
                return timestamp(row)
        raise KeyError(key)

    # -- keys as they are stored ---------------------------------------------------------------

    def _stored_key(self, key: Any) -> bytes:
        if self._spec.kind is StoreKind.KEY_VALUE:
            return self._key.encode(key)
        if not isinstance(key, Windowed):
            raise TopologyError(
                f"store {self._spec.name!r} has a value per key and window, not for {key!r}",
                hint="use fetch(key, start), items(), or a Windowed as the key",
            )
        raw = self._key.encode(key.key)
        if self._spec.kind is StoreKind.WINDOW:
            return window_key(key.start_ms, raw)
        return session_key(raw, key.start_ms, key.end_ms)

    def _rows(self, start: bytes, end: bytes | None) -> Iterator[tuple[Any, Any]]:
        found = [
            (stored_key, row)
            for part in self._parts
            for stored_key, row in part.database.scan(self._spec.name, start, end)
            if not self._is_past(stored_key, row, part)
        ]
        for stored_key, row in sorted(found):
            yield shown_key(self._spec, self._key, stored_key), self._value.decode(payload(row))

    def _is_past(self, stored_key: bytes, row: bytes, part: Part) -> bool:
        match self._spec.kind:
            case StoreKind.KEY_VALUE:
                return is_past_ttl(self._spec, timestamp(row), part.stream_time_ms)
            case StoreKind.WINDOW:
                start_ms, _key = window_parts(stored_key)
                return start_ms < part.expired_before_ms
            case StoreKind.SESSION:
                _key, _start_ms, end_ms = session_parts(stored_key)
                return end_ms < part.expired_before_ms

    def _require(self, kind: StoreKind, method: str) -> None:
        if self._spec.kind is not kind:
            raise TopologyError(
                f"{method}() is for {kind.value} stores; {self._spec.name!r} is a"
                f" {self._spec.kind.value} store"
            )
