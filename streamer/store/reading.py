"""All rows of a database that nobody has open, read to the last one: whether it can be read at all.

It needs no specifications, so whoever looks at a snapshot need not have the application. Nothing in
the directory is used for anything else: it is a copy that was fetched for this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rocksdict import AccessType, Options, Rdict

from streamer.store.faults import fault
from streamer.store.schema import DEFAULT, OWN_PREFIX, check_format

__all__ = ["Contents", "read_all"]


@dataclass(frozen=True, slots=True)
class Contents:
    """Rows by store, entries of their time indexes, and the metadata beside them."""

    rows: dict[str, int]
    index_entries: dict[str, int]
    metadata: dict[str, bytes]


def read_all(directory: Path) -> Contents:
    """Read every row. Raises TaskCorruptedError where bytes are damaged, StateDirectoryError for
    another format."""
    try:
        names = Rdict.list_cf(str(directory), Options(raw_mode=True))
        families = {name: Options(raw_mode=True) for name in names}
        database = Rdict(
            str(directory), Options(raw_mode=True), families, AccessType.read_only(False)
        )
    except Exception as error:
        raise fault(error, "opening the database", directory) from None
    try:
        return _read(directory, database, [name for name in names if name != DEFAULT])
    finally:
        database.close()


def _read(directory: Path, database: Any, names: list[str]) -> Contents:
    records = dict(_rows(directory, database, DEFAULT))
    check_format(directory, records)
    counts: dict[str, dict[str, int]] = {"store": {}, "index": {}}
    for name in names:
        kind, _, store = name.partition(".")
        family = database.get_column_family(name)
        try:
            counts[kind][store] = sum(1 for _row in _rows(directory, family, name))
        finally:
            family.close()
    metadata = {
        key.decode(): value for key, value in records.items() if not key.startswith(OWN_PREFIX)
    }
    return Contents(counts["store"], counts["index"], metadata)


def _rows(directory: Path, family: Any, name: str) -> Iterator[tuple[bytes, bytes]]:
    iterator = family.iter()
    iterator.seek_to_first()
    while iterator.valid():
        yield iterator.key(), iterator.value()
        iterator.next()
    try:
        # A damaged block ends an iteration like the last row does; only this tells.
        iterator.status()
    except Exception as error:
        raise fault(error, f"scanning {name}", directory) from None
