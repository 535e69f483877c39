"""The state of one task at rest: one RocksDB with a column family per store, and metadata.

Rows and the metadata that covers them become durable together, whatever is killed when: the log of
RocksDB is always on. Reads and scans may come from any thread, also while the database is closed
under them; writes come from one thread at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from rocksdict import WriteBatch

from streamer import failpoints
from streamer.errors import InvariantError
from streamer.store.batches import Change, batches, deletions, index_batches, index_changes
from streamer.store.families import Families
from streamer.store.faults import closed, fault
from streamer.store.gate import Cursor, Gate
from streamer.store.options import OptionSet
from streamer.store.pool import MemoryPool
from streamer.store.schema import (
    DEFAULT,
    OWN_PREFIX,
    Found,
    check_format,
    family_name,
    format_record,
    index_change,
    on_disk,
    store_record,
)
from streamer.topology.stores import StoreSpec

__all__ = ["TaskDatabase"]

_SCAN_ROWS_FIRST, _SCAN_ROWS_MAX = 16, 512
_MEMTABLE_ROWS = ("rocksdb.num-entries-active-mem-table", "rocksdb.num-entries-imm-mem-tables")


class TaskDatabase:
    """Open with `TaskDatabase.open`; `found` is what was there before."""

    def __init__(
        self, directory: Path, specs: Sequence[StoreSpec], *, pool: MemoryPool, options: OptionSet
    ) -> None:
        self.directory = directory
        self.found: Found
        self.specs = {spec.name: spec for spec in specs}
        self._pool = pool
        self._options = options
        self.filter_bytes = options.filter_bytes
        self._gate = Gate(lambda: closed(directory))
        self._families: Families

    @classmethod
    def open(
        cls,
        directory: Path,
        specs: Sequence[StoreSpec],
        *,
        pool: MemoryPool,
        options: Mapping[str, Any],
    ) -> TaskDatabase:
        """Open or create the database of a task; `options` are the worker's RocksDB options.

        Raises TaskCorruptedError when files are missing or damaged, StateDirectoryError when it is
        open elsewhere, of another format, or the disk fails, ConfigError for wrong options.
        """
        database = cls(directory, specs, pool=pool, options=OptionSet(specs, options, pool))
        try:
            database._open()
        except Exception as error:
            database.close()
            raise fault(error, "opening the database", directory) from None
        pool.join(database)
        return database

    def _open(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        found = self.found = on_disk(self.directory, self.specs.values())
        wanted = {family_name(store) for store in self.specs}
        names = (found.existing | wanted) - {DEFAULT}
        self._families = Families(self.directory, names, self._options)
        records = dict(self._scan(DEFAULT, b"", None))
        check_format(self.directory, records)
        fresh = dict([format_record()])
        for spec in self.specs.values():
            self._reconcile(spec, records, is_new=family_name(spec.name) not in found.existing)
            fresh.update([store_record(spec)])
        changed = {key: value for key, value in fresh.items() if records.get(key) != value}
        if changed:
            self._write({}, changed)

    def _reconcile(self, spec: StoreSpec, records: Mapping[bytes, bytes], *, is_new: bool) -> None:
        """Bring a store's index in line with its specification."""
        index = family_name(spec.name, index=True)
        is_empty = next(self._scan(family_name(spec.name), b"", None), None) is None
        change = index_change(self.directory, spec, records, is_new=is_new, is_empty=is_empty)
        if change is not None and index in self._families:
            self._families.drop(index)
        if spec.is_indexed_by_time and index not in self._families:
            self._families.create(index)
        if change:
            # Such as a store that was given a TTL.
            rows = self._scan(family_name(spec.name), b"", None)
            for batch in index_batches(spec, self._families.handle(index), rows):
                self._commit(batch)

    def get(self, store: str, key: bytes) -> bytes | None:
        return self.get_many(store, [key])[0]

    def get_many(self, store: str, keys: list[bytes]) -> list[bytes | None]:
        """The rows of the keys in their order, None where there is none."""
        with self._gate:
            try:
                return self._families.get(f"store.{store}", keys)
            except KeyError:
                raise InvariantError(f"task {self.directory.name} has no store {store}") from None
            except Exception as error:
                raise fault(error, f"reading store {store}", self.directory) from None

    def scan(
        self,
        store: str,
        start: bytes,
        end: bytes | None,
        *,
        reverse: bool = False,
        index: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows of [start, end) as of now, in the order of their keys; `index`: index entries.

        Raises TaskCorruptedError at a damaged block, TaskMigratedError when the database is closed
        meanwhile.
        """
        return self._scan(family_name(store, index=index), start, end, reverse=reverse)

    def _scan(
        self, name: str, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        with self._gate:
            iterator = self._families.iterator(name, end)
            if reverse:
                iterator.seek_to_last()
            else:
                iterator.seek(start)
            cursor = Cursor(iterator, start if reverse else None, end)
            self._gate.keep(cursor)
        return self._rows(cursor, name)

    def _rows(self, cursor: Cursor, name: str) -> Iterator[tuple[bytes, bytes]]:
        count = _SCAN_ROWS_FIRST
        try:
            while True:
                rows = self._step(cursor, name, count)
                yield from rows
                if len(rows) < count:
                    return
                count = min(count * 2, _SCAN_ROWS_MAX)
        finally:
            cursor.iterator = None

    def _step(self, cursor: Cursor, name: str, count: int) -> list[tuple[bytes, bytes]]:
        """The next rows, fewer than `count` only at the end."""
        with self._gate:
            try:
                return cursor.step(count)
            except Exception as error:
                raise fault(error, f"scanning {name}", self.directory) from None

    def write(self, changes: Mapping[str, Sequence[Change]], metadata: Mapping[str, bytes]) -> None:
        """Apply rows (None deletes) and the metadata that covers them, in batches of bounded size.

        The metadata is in the last batch. A crash before it leaves rows ahead of their positions,
        which is safe: the replay writes the same absolute values again. Positions ahead of rows
        would skip changes for ever, so they never go first.
        """
        records = {key.encode(): value for key, value in metadata.items()}
        if any(key.startswith(OWN_PREFIX) for key in records):
            raise ValueError(f"metadata keys must not begin with {OWN_PREFIX.decode()}")
        self._write(changes, records)

    def _write(
        self, changes: Mapping[str, Sequence[Change]], records: Mapping[bytes, bytes]
    ) -> None:
        with self._gate:
            is_first = True
            for batch in batches(self._families, self.specs, changes=changes, records=records):
                if not is_first:
                    failpoints.hit("commit.between_store_chunks")
                self._commit(batch)
                is_first = False

    def _commit(self, batch: WriteBatch) -> None:
        """Inside the gate."""
        self._pool.make_room()
        try:
            self._families.write(batch)
        except Exception as error:
            raise fault(error, "writing", self.directory) from None

    def ingest(self, store: str, rows: Mapping[bytes, bytes | None]) -> None:
        """Add many rows at once as files, which costs half of writing them; durable at return.

        Metadata that covers them is written afterwards, with `write`: a crash in between leaves
        rows ahead of positions, as in `write`. Readers may see the rows before their index.
        """
        spec = self.specs[store]
        directory = self.directory / "ingest"
        # By the key alone: a comparison of pairs looks at the key twice.
        ordered = sorted(rows.items(), key=itemgetter(0))
        files = {family_name(store): ordered}
        if spec.is_indexed_by_time:
            files[family_name(store, index=True)] = sorted(
                index_changes(spec, ordered), key=itemgetter(0)
            )
        with self._gate:
            try:
                # Files that a crash left behind are of no use: their rows come again.
                shutil.rmtree(directory, ignore_errors=True)
                directory.mkdir()
                for name, changes in files.items():
                    self._families.ingest(name, changes, directory / f"{name}.sst")
            except Exception as error:
                raise fault(error, f"loading store {store}", self.directory) from None

    def delete_index(self, store: str, index_keys: Sequence[bytes]) -> None:
        """Remove entries of a time index that expiry has dealt with."""
        with self._gate:
            handle = self._families.handle(family_name(store, index=True))
            for batch in deletions(handle, index_keys):
                self._commit(batch)

    def metadata(self) -> dict[str, bytes]:
        """What was written as metadata, by key."""
        records = self._scan(DEFAULT, b"", None)
        return {key.decode(): value for key, value in records if not key.startswith(OWN_PREFIX)}

    def flush(self, *, wait: bool = True) -> None:
        """Write all memtables to files. Safe at any time, since the log is always on."""
        with self._gate:
            try:
                self._families.flush(wait=wait)
            except Exception as error:
                raise fault(error, "flushing", self.directory) from None

    def checkpoint(self, target: Path) -> None:
        """Make a copy of hard links at `target`, a new directory on the same disk: milliseconds
        where no row is in memory, else as long as a flush. All threads of the process wait."""
        with self._gate:
            try:
                self._families.checkpoint(target)
            except Exception as error:
                raise fault(error, f"making a checkpoint in {target}", self.directory) from None

    def close(self) -> None:
        """Close the database; calls and scans of other threads end with an error. Idempotent."""
        self._pool.leave(self)
        if not self._gate.shut():
            return
        if hasattr(self, "_families"):
            self._families.close()

    def memtable_rows(self) -> int:
        """How many writes are in memory alone, all families: 0 after a flush, until the next."""
        with self._gate:
            return sum(map(self._families.total, _MEMTABLE_ROWS))

    def memtable_bytes(self) -> int:
        with self._gate:
            return self._families.total("rocksdb.cur-size-all-mem-tables")

    def size_bytes(self) -> int:
        """Bytes of files on disk and of memtables, all families."""
        with self._gate:
            return self._families.total("rocksdb.total-sst-files-size") + self.memtable_bytes()

    def has_rows(self, store: str) -> bool:
        return next(self.scan(store, b"", None), None) is not None

    def approximate_rows(self, store: str) -> int:
        """RocksDB's estimate; overwritten and deleted rows may count until compacted."""
        with self._gate:
            return self._families.property(family_name(store), "rocksdb.estimate-num-keys")

    def gauges(self) -> dict[str, int]:
        """What an operator watches, by name; see `families.GAUGES`."""
        with self._gate:
            return self._families.gauges()
