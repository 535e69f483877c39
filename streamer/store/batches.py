"""Write batches of bounded size from changes of stores, with the index entries that follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rocksdict import WriteBatch

from streamer.store.families import Families
from streamer.store.keys import index_key
from streamer.store.schema import family_name
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["Change", "batches", "deletions", "index_batches", "index_changes"]

Change = tuple[bytes, bytes | None]

# A write batch holds the GIL while it is applied: 10,000 rows of 100 bytes are about 20 ms, in
# which neither queries nor heartbeats run. Rows are put in slices, an index doubles a slice.
ROWS_MAX = 10_000
BYTES_MAX = 4 << 20
_SLICE = 1_000


def batches(
    families: Families,
    specs: Mapping[str, StoreSpec],
    *,
    changes: Mapping[str, Sequence[Change]],
    records: Mapping[bytes, bytes],
) -> Iterator[WriteBatch]:
    """All changes, then the metadata records in the last batch."""
    batch = WriteBatch(raw_mode=True)
    for store, rows in changes.items():
        handle = families.handle(family_name(store))
        is_indexed = specs[store].is_indexed_by_time
        index = families.handle(family_name(store, index=True)) if is_indexed else None
        for start in range(0, len(rows), _SLICE):
            part = rows[start : start + _SLICE]
            _put(batch, part, handle)
            if is_indexed:
                _put(batch, index_changes(specs[store], part), index)
            if len(batch) > ROWS_MAX - 2 * _SLICE or batch.size_in_bytes() > BYTES_MAX:
                yield batch
                batch = WriteBatch(raw_mode=True)
    for key, value in records.items():
        batch.put(key, value)
    if len(batch):
        yield batch


def deletions(handle: Any, keys: Sequence[bytes]) -> Iterator[WriteBatch]:
    """Removals of keys of one family."""
    for start in range(0, len(keys), ROWS_MAX):
        batch = WriteBatch(raw_mode=True)
        delete = batch.delete
        for key in keys[start : start + ROWS_MAX]:
            delete(key, handle)
        yield batch


def index_batches(
    spec: StoreSpec, handle: Any, rows: Iterator[tuple[bytes, bytes]]
) -> Iterator[WriteBatch]:
    """Index entries of rows that have none yet."""
    batch = WriteBatch(raw_mode=True)
    for key, row in rows:
        batch.put(index_key(spec, key, row), b"", handle)
        if len(batch) >= ROWS_MAX:
            yield batch
            batch = WriteBatch(raw_mode=True)
    yield batch


def index_changes(spec: StoreSpec, rows: Sequence[Change]) -> list[Change]:
    """What rows change in their store's time index."""
    changes: list[Change] = [
        (index_key(spec, key, row), b"") for key, row in rows if row is not None
    ]
    # The key of a session tells its index entry; that of a TTL row is found stale by expiry.
    if spec.kind is StoreKind.SESSION:
        changes += [(index_key(spec, key, b""), None) for key, row in rows if row is None]
    return changes


def _put(batch: WriteBatch, rows: Sequence[Change], handle: Any) -> None:
    put, delete = batch.put, batch.delete
    for key, row in rows:
        if row is None:
            delete(key, handle)
        else:
            put(key, row, handle)
