"""Which column families a task's database has, and what is recorded about them.

    default          metadata: positions and stream time; `@...` are this module's own records
    store.<name>     rows of a store
    index.<name>     time index of a store that has one

`@format` is the version of this layout; `@store.<name>` says what kind of rows a store holds and
whether its index is complete. A family without a specification is kept: its store may come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from rocksdict import Options, Rdict

from streamer.errors import StateDirectoryError
from streamer.topology.stores import StoreSpec

__all__ = [
    "DEFAULT",
    "FORMAT",
    "OWN_PREFIX",
    "Found",
    "check_format",
    "family_name",
    "format_record",
    "index_change",
    "on_disk",
    "store_record",
]

DEFAULT = "default"
FORMAT = b"1"
OWN_PREFIX = b"@"
_FORMAT_KEY = b"@format"
_STORE_KEY = b"@store."
_STORE, _INDEX = "store.", "index."
_INDEXED = b" indexed"


class Found(NamedTuple):
    """Names of stores: those on disk, and those on disk that nobody asked for."""

    existing: frozenset[str]
    unknown_stores: tuple[str, ...]


def family_name(store: str, *, index: bool = False) -> str:
    return (_INDEX if index else _STORE) + store


def on_disk(directory: Path, specs: Iterable[StoreSpec]) -> Found:
    """The families of the database in a directory; none where there is no database yet."""
    if not (directory / "CURRENT").exists():
        return Found(frozenset(), ())
    existing = frozenset(Rdict.list_cf(str(directory), Options(raw_mode=True)))
    wanted = {family_name(spec.name) for spec in specs}
    unknown = (name for name in existing - wanted if name.startswith(_STORE))
    return Found(existing, tuple(sorted(name.removeprefix(_STORE) for name in unknown)))


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
    value = spec.kind.value.encode()
    return _STORE_KEY + spec.name.encode(), value + _INDEXED * spec.is_indexed_by_time


def index_change(
    directory: Path, spec: StoreSpec, records: Mapping[bytes, bytes], *, is_new: bool
) -> bool | None:
    """What to do with a store's index: True build it, False drop it, None leave it.

    Raises StateDirectoryError when the store on disk holds rows of another kind.
    """
    key, wanted = store_record(spec)
    found = records.get(key)
    if found == wanted or (found is None and is_new):
        return None
    if found is None:
        return True if spec.is_indexed_by_time else None
    kind = found.removesuffix(_INDEXED)
    if kind != wanted.removesuffix(_INDEXED):
        raise StateDirectoryError(
            f"store {spec.name} in {directory} is a {kind.decode()} store, "
            f"but the topology now makes it a {spec.kind.value} store",
            hint="give the new store another name; rows of one kind cannot be read as another",
        )
    return spec.is_indexed_by_time
