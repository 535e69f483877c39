"""Which rows of a store are past their time: windows and sessions by retention, rows by TTL.

Expiry is by stream time, so it is the same in every replay. It never changes a result: a window is
kept at least for its grace, and a row past its TTL is not read even before it is removed. Removed
rows get a tombstone in the changelog, or compaction would keep them for ever.

Each commit goes on where the last one stopped. Nothing is missed so: what a later transaction
changes below that place is past its time already, and is removed with its own commit.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import islice

from streamer.store.cache import Database, Dirty
from streamer.store.keys import ROW_TIME, ttl_bucket
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["Expired", "Expiry", "is_past_ttl"]

# A commit removes so many rows, or twice as many as it changed: so removing keeps up with writing,
# since a row that was written once expires once, and a bucket that ends at once stalls nothing.
ROWS_MIN = 1_000
_TIME = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Expired:
    """A row to remove, the time-index entries to drop, or both."""

    keys: list[bytes]
    index_keys: list[bytes]


def is_past_ttl(spec: StoreSpec, stored_timestamp_ms: int, stream_time_ms: int) -> bool:
    return spec.ttl_ms is not None and stored_timestamp_ms + spec.ttl_ms <= stream_time_ms


def _least(bound_ms: int, kept_from_ms: int | None) -> int:
    return bound_ms if kept_from_ms is None else min(bound_ms, kept_from_ms)


class Expiry:
    """Finds expired rows of one store, going on where it stopped."""

    def __init__(self, spec: StoreSpec, database: Database) -> None:
        self._spec = spec
        self._database = database
        # Rows, or entries of the index, below `_next` were found; those below `_safe` are gone.
        self._next = b""
        self._safe = b""

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

    def find(
        self, stream_time_ms: int, changed: int = 0, *, kept_from_ms: int | None = None
    ) -> Expired:
        """Stored rows that are expired, as many as suit a commit that changes `changed` rows. Rows
        past a TTL are found once all of their bucket are. Rows from `kept_from_ms` on are needed
        still."""
        spec = self._spec
        rows_max = max(ROWS_MIN, 2 * changed)
        bound = _least(self.bound_ms(stream_time_ms), kept_from_ms)
        if spec.ttl_ms is not None:
            bound = ttl_bucket(bound, spec.ttl_ms)
        end = _TIME.pack(bound)
        if not bound or end <= self._next:
            return Expired([], [])
        scan = self._database.scan(spec.name, self._next, end, index=spec.is_indexed_by_time)
        found = [key for key, _row in islice(scan, rows_max)]
        self._next = end if len(found) < rows_max else found[-1] + b"\0"
        if spec.kind is StoreKind.WINDOW:
            return Expired(found, [])
        keys = [index_key[8:] for index_key in found]
        if spec.kind is StoreKind.SESSION:
            # An entry of a session goes with its row.
            return Expired(keys, [])
        # An update may have moved a row on and left its entry behind.
        rows = self._database.get_many(spec.name, keys) if keys else []
        pairs = zip(keys, rows, strict=True)
        return Expired(
            [key for key, row in pairs if row is not None and row[ROW_TIME] < end], found
        )

    def among(
        self, dirty: Dirty, stream_time_ms: int, *, kept_from_ms: int | None = None
    ) -> list[bytes]:
        """The changed rows that are expired as soon as they are committed."""
        bound = _least(self.bound_ms(stream_time_ms), kept_from_ms)
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

    def committed(self) -> None:
        """What was found is removed. What RocksDB keeps of it until it compacts is not walked
        through again."""
        self._safe = self._next

    def rewind(self) -> None:
        """Go back: an aborted transaction kept what had been found since the last commit."""
        self._next = self._safe
