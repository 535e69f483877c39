"""The open column families of one database, and the objects of the binding that hold them open.

Every object here keeps the database locked while it is alive, so all of them are in one place and
`close` drops them in order: families, then the database.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rocksdict import Checkpoint, IngestExternalFileOptions, Rdict, SstFileWriter, WriteBatch

from streamer.store.options import OptionSet
from streamer.store.schema import DEFAULT

__all__ = ["Families"]

_log = logging.getLogger(__name__)

# What an operator watches; RocksDB's own names, summed over the families.
GAUGES = {
    "estimated_keys": "rocksdb.estimate-num-keys",
    "memtable_bytes": "rocksdb.cur-size-all-mem-tables",
    "table_reader_bytes": "rocksdb.estimate-table-readers-mem",
    "all_files_bytes": "rocksdb.total-sst-files-size",
    "live_files_bytes": "rocksdb.live-sst-files-size",
    "pending_compaction_bytes": "rocksdb.estimate-pending-compaction-bytes",
    "level0_files": "rocksdb.num-files-at-level0",
    "writes_stopped": "rocksdb.is-write-stopped",
    "delayed_write_bytes_per_second": "rocksdb.actual-delayed-write-rate",
    "background_errors": "rocksdb.background-errors",
}
# These are of the database, not of a family: a sum would count them once per family.
_SHARED = frozenset({"writes_stopped", "delayed_write_bytes_per_second", "background_errors"})
_TICKERS = {
    "block_cache_hits": "rocksdb.block.cache.hit",
    "block_cache_misses": "rocksdb.block.cache.miss",
    "stall_micros": "rocksdb.stall.micros",
}


class Families:
    """Families by name; `DEFAULT` is the database itself."""

    def __init__(self, directory: Path, names: Iterable[str], options: OptionSet) -> None:
        self._directory = directory
        self._options = options
        self._main_options = options.database()
        each = {name: options.family(*_store_of(name)) for name in names}
        self._database = Rdict(
            str(directory), self._main_options, {DEFAULT: self._main_options, **each}
        )
        self._write_options = options.write()
        self._open: dict[str, Rdict] = {DEFAULT: self._database}
        self._handles: dict[str, Any] = {DEFAULT: None}
        for name in each:
            self._adopt(name, self._database.get_column_family(name))

    def _adopt(self, name: str, family: Rdict) -> None:
        family.set_read_options(self._options.read(_store_of(name)[0]))
        self._open[name] = family
        self._handles[name] = self._database.get_column_family_handle(name)

    def __contains__(self, name: str) -> bool:
        return name in self._open

    def create(self, name: str) -> None:
        options = self._options.family(*_store_of(name))
        self._adopt(name, self._database.create_column_family(name, options))

    def drop(self, name: str) -> None:
        """Delete a family and its rows."""
        del self._handles[name]
        self._open.pop(name).close()
        self._database.drop_column_family(name)

    def get(self, name: str, keys: list[bytes]) -> list[bytes | None]:
        family: Any = self._open[name]
        found: list[bytes | None] = family.get(keys)
        return found

    def handle(self, name: str) -> Any:
        """What a write batch names the family by."""
        return self._handles[name]

    def iterator(self, name: str, end: bytes | None) -> Any:
        """An iterator that ends before `end`, not yet placed."""
        options = self._options.read(_store_of(name)[0])
        # Not the lower bound: in rocksdict 0.3.29 its setter sets the upper one.
        if end is not None:
            options.set_iterate_upper_bound(end)
        return self._open[name].iter(options)

    def write(self, batch: WriteBatch) -> None:
        self._database.write(batch, self._write_options)

    def ingest(self, name: str, rows: Sequence[tuple[bytes, bytes | None]], file: Path) -> None:
        """Add rows as a file made at `file`; keys ascending and unique, None removes."""
        if self._is_empty(name):
            rows = [one for one in rows if one[1] is not None]
        if not rows:
            return
        writer: Any = SstFileWriter(self._options.family(*_store_of(name)))
        writer.open(str(file))
        for key, row in rows:
            if row is None:
                del writer[key]
            else:
                writer[key] = row
        writer.finish()
        self.ingest_files(name, [file])

    def ingest_files(self, name: str, files: Sequence[Path]) -> None:
        """Move sorted files that do not overlap each other into a family. Where they lie between
        files that are there, theirs is the later row of a key."""
        options = IngestExternalFileOptions()
        options.set_move_files(True)
        self._open[name].ingest_external_file([str(file) for file in files], options)

    def compact(self, name: str) -> None:
        """Bring a family's files into one level, each row once."""
        self._open[name].compact_range(None, None)

    def compact_by_hand(self) -> None:
        """Until this is closed nothing but `compact` compacts. Writes are never held up then,
        however many files lie over each other."""
        for family in self._open.values():
            family.set_options({"disable_auto_compactions": "true"})

    def _is_empty(self, name: str) -> bool:
        iterator = self.iterator(name, None)
        iterator.seek_to_first()
        iterator.status()
        return not iterator.valid()

    def flush(self, *, wait: bool) -> None:
        for family in self._open.values():
            family.flush(wait)

    def checkpoint(self, target: Path) -> None:
        """All families at one moment, as hard links."""
        Checkpoint(self._database).create_checkpoint(str(target))

    def total(self, name: str) -> int:
        """A property of RocksDB, summed over the families."""
        return sum(family.property_int_value(name) or 0 for family in self._open.values())

    def property(self, family: str, name: str) -> int:
        return self._open[family].property_int_value(name) or 0

    def gauges(self) -> dict[str, int]:
        values = {
            name: self.property(DEFAULT, key) if name in _SHARED else self.total(key)
            for name, key in GAUGES.items()
        }
        # Filled only where the option enable_statistics is on.
        text = self._main_options.get_statistics() or ""
        for name, ticker in _TICKERS.items():
            match = re.search(rf"^{re.escape(ticker)} COUNT : (\d+)", text, re.MULTILINE)
            if match is not None:
                values[name] = int(match[1])
        return values

    def close(self) -> None:
        """Closing flushes; where that fails, the rows are in RocksDB's log and come back. Families
        before the database: any object left alive would keep its lock."""
        self._handles.clear()
        database = self._open.pop(DEFAULT)
        for family in [*self._open.values(), database]:
            try:
                family.close()
            except Exception as error:
                _log.warning("closing %s: %s", self._directory, error)
        self._open.clear()
        del self._database, self._main_options


def _store_of(name: str) -> tuple[str, bool]:
    """(store, whether it is the store's index)"""
    kind, _, store = name.partition(".")
    return store, kind == "index"
