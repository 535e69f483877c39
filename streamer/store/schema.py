"""Which column families a task's database has, and what is recorded about them.

    default          metadata: positions and stream time; `@...` are this module's own records
    store.<name>     rows of a store
    index.<name>     time index of a store that has one

`@format` is the version of this layout; `@store.<name>` says what kind of rows a store holds and
whether its index is complete. Rows say their kind themselves, so that changelogs are as safe; here
it is known before anything is read. A family without a specification is kept: its store may come
back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from rocksdict import Options, Rdict

from streamer.errors import StateDirectoryError
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = [
    "CHANGELOG_POSITION",
    "DEFAULT",
    "FORMAT",
    "OWN_PREFIX",
    "Found",
    "check_format",
    "family_name",
    "format_record",
    "index_change",
    "kind_record",
    "on_disk",
    "store_record",
    "stored_kinds",
]

DEFAULT = "default"
FORMAT = b"1"
OWN_PREFIX = b"@"
# Metadata that the layer above keeps: how far the rows of a store have come.
CHANGELOG_POSITION = "changelog/"
_FORMAT_KEY = b"@format"
_STORE_KEY = b"@store."
_STORE, _INDEX = "store.", "index."
_INDEXED = b" indexed"


class Found(NamedTuple):
    """The families on disk; stores there that nobody asked for; stores asked for that a database
    which is there does not have."""

    existing: frozenset[str]
    unknown_stores: tuple[str, ...]
    new_stores: tuple[str, ...]


def family_name(store: str, *, index: bool = False) -> str:
    return (_INDEX if index else _STORE) + store


def on_disk(directory: Path, specs: Iterable[StoreSpec]) -> Found:
    """The families of the database in a directory; none where there is no database yet."""
    if not (directory / "CURRENT").exists():
        return Found(frozenset(), (), ())
    existing = frozenset(Rdict.list_cf(str(directory), Options(raw_mode=True)))
    wanted = {spec.name for spec in specs}
    known = {name.removeprefix(_STORE) for name in existing if name.startswith(_STORE)}
    return Found(existing, tuple(sorted(known - wanted)), tuple(sorted(wanted - known)))


def format_record() -> tuple[bytes, bytes]:
    return _FORMAT_KEY, FORMAT


def check_format(directory: Path, records: Mapping[bytes, bytes]) -> None:
    """Raise StateDirectoryError for a database that another version has made."""
    found = records.get(_FORMAT_KEY, FORMAT)
    if found != FORMAT:
        raise StateDirectoryError(
            f"the database in {directory} has format {found.decode(errors='replace')}, "
            f"this version of Streamer reads format {FORMAT.decode()}",
            hint="run the version that made it, or move the directory away: the task is then "
            "restored from its changelog",
        )


def store_record(spec: StoreSpec) -> tuple[bytes, bytes]:
    return kind_record(spec.name, spec.kind, is_indexed=spec.is_indexed_by_time)


def stored_kinds(records: Mapping[bytes, bytes]) -> dict[str, tuple[StoreKind, bool]]:
    """By store: its kind, and whether its index by time is complete."""
    return {
        key.removeprefix(_STORE_KEY).decode(): (
            StoreKind(value.removesuffix(_INDEXED).decode()),
            value.endswith(_INDEXED),
        )
        for key, value in records.items()
        if key.startswith(_STORE_KEY)
    }


def kind_record(store: str, kind: StoreKind, *, is_indexed: bool) -> tuple[bytes, bytes]:
    return _STORE_KEY + store.encode(), kind.value.encode() + _INDEXED * is_indexed


def index_change(
    directory: Path,
    spec: StoreSpec,
    records: Mapping[bytes, bytes],
    *,
    is_new: bool,
    is_empty: bool,
) -> bool | None:
    """What to do with a store's index: True build it, False drop it, None leave it.

    Raises StateDirectoryError when the store on disk is of another kind; one that never held a row
    may change, such as after a changelog was refused because of its kind.
    """
    key, wanted = store_record(spec)
    found = records.get(key)
    if found == wanted or (found is None and is_new):
        return None
    if found is None:
        return True if spec.is_indexed_by_time else None
    kind = found.removesuffix(_INDEXED)
    has_rows = not is_empty or (CHANGELOG_POSITION + spec.name).encode() in records
    if kind != wanted.removesuffix(_INDEXED) and has_rows:
        raise StateDirectoryError(
            f"store {spec.name} in {directory} is a {kind.decode()} store, "
            f"but the topology now makes it a {spec.kind.value} store",
            hint="give the new store another name; rows of one kind cannot be read as another",
        )
    return spec.is_indexed_by_time
