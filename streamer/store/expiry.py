"""Which rows of a store are past their time: windows and sessions by retention, rows by TTL.

Expiry is by stream time, so it is the same in every replay. It never changes a result: a window is
kept at least for its grace, and a row past its TTL is not read even before it is removed. Removed
rows get a tombstone in the changelog, or compaction would keep them for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from streamer.store.cache import Database, Dirty
from streamer.store.keys import timestamp, ttl_bucket
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["Expired", "Expiry", "is_past_ttl"]

# One commit removes this many rows at most, so that a long-idle store does not stall processing.
ROWS_MAX = 10_000
_TIME = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Expired:
    """A row to remove, the time-index entries to drop, or both."""

    keys: list[bytes]
    index_keys: list[bytes]


def is_past_ttl(spec: StoreSpec, stored_timestamp_ms: int, stream_time_ms: int) -> bool:
    return spec.ttl_ms is not None and stored_timestamp_ms + spec.ttl_ms <= stream_time_ms


class Expiry:
    """Finds expired rows of one store, going on where it stopped."""

    def __init__(self, spec: StoreSpec, database: Database) -> None:
        self._spec = spec
        self._database = database
        self._done_ms = 0

    def bound_ms(self, stream_time_ms: int) -> int:
        """Rows with a time below this are expired; 0 where nothing ever is."""
        spec = self._spec
        if spec.kind is StoreKind.WINDOW:
            kept = (spec.window_size_ms or 0) + (spec.retention_ms or 0)
        elif spec.kind is StoreKind.SESSION:
            # A gap is inclusive: a session may still grow when stream time is its end, gap and
            # grace exactly.
            kept = (spec.retention_ms or 0) + 1
        elif spec.ttl_ms is not None:
            kept = spec.ttl_ms
        else:
            return 0
        return max(stream_time_ms - kept + 1, 0)

    def find(self, stream_time_ms: int, rows_max: int = ROWS_MAX) -> Expired:
        """The rows that are expired now, at most `rows_max`."""
        bound = self.bound_ms(stream_time_ms)
        if bound <= self._done_ms:
            return Expired([], [])
        scan = self._windows if self._spec.kind is StoreKind.WINDOW else self._indexed
        expired = Expired([], [])
        for examined, (time_ms, key, index_key) in enumerate(scan(bound)):
            if examined >= rows_max:
                # The next commit goes on from this row's time: equal times may remain.
                self._done_ms = time_ms
                return expired
            if index_key is not None:
                expired.index_keys.append(index_key)
            if key is not None:
                expired.keys.append(key)
        self._done_ms = bound
        return expired

    def among(self, dirty: Dirty, stream_time_ms: int) -> list[bytes]:
        """The changed rows that are expired as soon as they are committed."""
        bound = self.bound_ms(stream_time_ms)
        if not bound or not dirty.keys:
            return []
        if self._spec.kind is StoreKind.KEY_VALUE:
            if min(dirty.timestamps) >= bound:
                return []
            pairs = zip(dirty.keys, dirty.timestamps, strict=True)
            return [key for key, stamp in pairs if stamp < bound]
        head = _TIME.pack(bound)
        if self._spec.kind is StoreKind.SESSION:
            return [key for key in dirty.keys if key[-16:-8] < head]
        return [key for key in dirty.keys if key < head] if min(dirty.keys) < head else []

    def rewind(self) -> None:
        """Look from the beginning again: an aborted transaction kept what had been found."""
        self._done_ms = 0

    def _windows(self, bound: int) -> Iterator[tuple[int, bytes | None, bytes | None]]:
        start = _TIME.pack(self._done_ms)
        for key, _row in self._database.scan(self._spec.name, start, _TIME.pack(bound)):
            yield int.from_bytes(key[:8], "big"), key, None

    def _indexed(self, bound: int) -> Iterator[tuple[int, bytes | None, bytes | None]]:
        name = self._spec.name
        end = _TIME.pack(bound)
        start = _TIME.pack(0)
        for index_key, _none in self._database.scan(name, start, end, index=True):
            time_ms = int.from_bytes(index_key[:8], "big")
            key = index_key[8:]
            stored = self._database.get_many(name, [key])[0]
            if stored is None or not self._is_of(stored, time_ms):
                yield time_ms, None, index_key
            elif self._spec.ttl_ms is None or timestamp(stored) < bound:
                yield time_ms, key, index_key

    def _is_of(self, stored: bytes, time_ms: int) -> bool:
        """Whether an index entry still speaks of the row: an update may have moved it on."""
        ttl_ms = self._spec.ttl_ms
        return ttl_ms is None or ttl_bucket(timestamp(stored), ttl_ms) == time_ms
