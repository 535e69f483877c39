"""A database that nobody writes to, read to its last row: a checkpoint, or a snapshot's files.

It needs no specifications, so whoever looks at one need not have the application. A damaged block
ends a scan of RocksDB like the last row does, without a word: every scan here makes sure of its
end, and raises where it came before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rocksdict import AccessType, Options, Rdict, ReadOptions

from streamer.closable import Closable
from streamer.errors import TaskCorruptedError
from streamer.store.faults import fault
from streamer.store.schema import DEFAULT, OWN_PREFIX, check_format, stored_kinds
from streamer.topology.stores import StoreKind

__all__ = ["Block", "Contents", "StoredDatabase", "read_all"]

# A block is what is hashed and written at once. Rows of 100 bytes fill it by their number, large
# ones by their bytes, which are looked at after a few rows each time.
BLOCK_ROWS = 8_192
BLOCK_BYTES = 8 << 20
_ROWS_AT_ONCE = 64
# A scan reads each block once, one after the other.
_READAHEAD_BYTES = 2 << 20


class Block(NamedTuple):
    """Rows that follow each other: their stored keys, and the rows."""

    keys: list[bytes]
    rows: list[bytes]


@dataclass(frozen=True, slots=True)
class Contents:
    """Rows by store, entries of their time indexes, and the metadata beside them."""

    rows: dict[str, int]
    index_entries: dict[str, int]
    metadata: dict[str, bytes]


class StoredDatabase(Closable):
    """Opened read-only; for one thread. Raises TaskCorruptedError where files are missing or
    damaged, StateDirectoryError for another format."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[str, Any] = {}
        try:
            names = Rdict.list_cf(str(directory), Options(raw_mode=True))
            families = {name: Options(raw_mode=True) for name in names}
            self._database = Rdict(
                str(directory), Options(raw_mode=True), families, AccessType.read_only(False)
            )
        except Exception as error:
            raise fault(error, "opening the database", directory) from None
        self._open = {
            name: self._database if name == DEFAULT else self._database.get_column_family(name)
            for name in names
        }
        try:
            self.records = {
                key: row for block in self.blocks(DEFAULT) for key, row in zip(*block, strict=True)
            }
            check_format(directory, self.records)
        except BaseException:
            self.close()
            raise

    @property
    def families(self) -> tuple[str, ...]:
        """Those of stores and of their indexes, in order."""
        return tuple(sorted(name for name in self._open if name != DEFAULT))

    @property
    def kinds(self) -> dict[str, tuple[StoreKind, bool]]:
        """By store: its kind, and whether its index by time is complete, as recorded."""
        return stored_kinds(self.records)

    @property
    def metadata(self) -> dict[str, bytes]:
        """What the layers above have written."""
        return {
            key.decode(): value
            for key, value in self.records.items()
            if not key.startswith(OWN_PREFIX)
        }

    def blocks(self, family: str, start: bytes | None = None) -> Iterator[Block]:
        """All rows of a family from `start` on, in the order of their keys."""
        source = self._open[family]
        last: bytes | None = None
        try:
            rows = iter(source.items(False, start, _sequential()))
            while block := _next_block(rows):
                last = block.keys[-1]
                yield block
            _check_end(source, start, last)
        except Exception as error:
            raise fault(error, f"scanning {family}", self.directory) from None

    def close(self) -> None:
        """Idempotent."""
        if not self._open:
            return
        database = self._open.pop(DEFAULT)
        for family in [*self._open.values(), database]:
            family.close()
        self._open.clear()
        del self._database


def read_all(directory: Path) -> Contents:
    """Read every row. Raises TaskCorruptedError where bytes are damaged, StateDirectoryError for
    another format."""
    counts: dict[str, dict[str, int]] = {"store": {}, "index": {}}
    with StoredDatabase(directory) as database:
        for name in database.families:
            kind, _, store = name.partition(".")
            counts[kind][store] = sum(len(block.keys) for block in database.blocks(name))
        return Contents(counts["store"], counts["index"], database.metadata)


def _sequential() -> Any:
    # The binding's types lack the value that `fill_cache` takes.
    options: Any = ReadOptions()
    options.fill_cache(False)
    options.set_readahead_size(_READAHEAD_BYTES)
    return options


def _next_block(source: Iterator[tuple[bytes, bytes]]) -> Block | None:
    keys: list[bytes] = []
    rows: list[bytes] = []
    size, before = 0, -1
    while before < len(keys) < BLOCK_ROWS and size < BLOCK_BYTES:
        before = len(keys)
        # A loop: lists of pairs would be walked by the garbage collector again and again.
        for key, row in islice(source, _ROWS_AT_ONCE):
            keys.append(key)
            rows.append(row)
        size += sum(map(len, rows[before:]))
    return Block(keys, rows) if keys else None


def _check_end(source: Any, start: bytes | None, last: bytes | None) -> None:
    """Raise unless there is nothing behind the last row that was seen.

    Rows are taken by `items`, half as dear as the calls of an iterator, but it ends at a damaged
    block in silence. An iterator that is placed at the last row meets that block and says so.
    """
    iterator = source.iter(_sequential())
    if last is not None:
        iterator.seek(last)
        if iterator.valid() and iterator.key() == last:
            iterator.next()
    elif start is not None:
        iterator.seek(start)
    else:
        iterator.seek_to_first()
    iterator.status()
    if iterator.valid():
        raise TaskCorruptedError(
            f"a scan ended at key {(last or b'').hex() or 'none'}, and rows follow it",
            hint="read it again; if it happens again, the files are damaged: use another copy",
        )
