"""Some rows of a store at rest: those of a key, a prefix or a range of keys, and a span of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from streamer.store.keys import payload, session_parts, timestamp, window_parts
from streamer.store.reading import StoredDatabase
from streamer.store.schema import family_name
from streamer.topology.stores import StoreKind

__all__ = ["Selected", "Selection", "select"]

_TIME_BYTES = 8


class Selected(NamedTuple):
    """A row. `start_ms` is of windows and sessions, `end_ms` of sessions."""

    key: bytes
    start_ms: int | None
    end_ms: int | None
    timestamp_ms: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows: those of `key`, or of the keys that begin with `prefix` and lie from `first` to
    before `end`; of windows those that start, and of sessions those that end, from `from_ms` to
    before `to_ms`."""

    key: bytes | None = None
    prefix: bytes = b""
    first: bytes = b""
    end: bytes | None = None
    from_ms: int = 0
    to_ms: int | None = None

    @property
    def least(self) -> bytes:
        """No key that is wanted is less."""
        return max(self.prefix, self.first) if self.key is None else self.key

    def takes(self, row: Selected) -> bool:
        key, time_ms = row.key, row.start_ms if row.end_ms is None else row.end_ms
        if self.key is not None and key != self.key:
            return False
        if key < self.first or not key.startswith(self.prefix):
            return False
        if self.end is not None and key >= self.end:
            return False
        if time_ms is None:
            return True
        return self.from_ms <= time_ms and (self.to_ms is None or time_ms < self.to_ms)

    def is_behind(self, kind: StoreKind, row: Selected) -> bool:
        """Whether nothing that is wanted follows this row, which is not wanted itself."""
        if kind is StoreKind.WINDOW:
            return self.to_ms is not None and (row.start_ms or 0) >= self.to_ms
        # A session's key is followed by its times: those of a longer key may stand between.
        if kind is StoreKind.SESSION:
            return not row.key.startswith(self.least) and row.key > self.least and self._is_one
        is_beyond = self.end is not None and row.key >= self.end
        return is_beyond or (self._is_one and row.key > self.least)

    @property
    def _is_one(self) -> bool:
        """Whether all keys that are wanted begin alike."""
        return self.key is not None or (bool(self.prefix) and self.prefix >= self.first)


def select(database: StoredDatabase, store: str, wanted: Selection) -> Iterator[Selected]:
    """In the order of keys, or of times for windows. Raises TaskCorruptedError for damage."""
    kind, _ = database.kinds[store]
    start = wanted.least
    if kind is StoreKind.WINDOW:
        start = wanted.from_ms.to_bytes(_TIME_BYTES, "big")
    for block in database.blocks(family_name(store), start or None):
        for stored_key, stored in zip(*block, strict=True):
            row = _row(kind, stored_key, stored)
            if wanted.takes(row):
                yield row
            elif wanted.is_behind(kind, row):
                return


def _row(kind: StoreKind, stored_key: bytes, stored: bytes) -> Selected:
    key, start_ms, end_ms = stored_key, None, None
    if kind is StoreKind.WINDOW:
        start_ms, key = window_parts(stored_key)
    elif kind is StoreKind.SESSION:
        key, start_ms, end_ms = session_parts(stored_key)
    return Selected(key, start_ms, end_ms, timestamp(stored), payload(stored))
