"""Options as RocksDB takes them, tried before anything starts.

RocksDB looks at options when a database is opened, at some when a file is written, and changes
others in silence. So an empty database in a temporary directory is opened with those of a task, a
row of each family is written, and what RocksDB notes down as its options is compared. That takes
some ten milliseconds, and nothing where no option is set. State is not touched.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rocksdict import Rdict

from streamer.config import Config
from streamer.errors import ConfigError
from streamer.store.defaults import DATABASE_WIDE
from streamer.store.options import OptionSet, check_stores
from streamer.store.pool import WRITE_BUFFER_BYTES_MIN, MemoryPool
from streamer.store.schema import DEFAULT, family_name
from streamer.store.settings import ALIASES, settings
from streamer.store.values import natural
from streamer.topology.graph import Topology
from streamer.topology.stores import StoreSpec

__all__ = ["check_topology"]

_log = logging.getLogger(__name__)

_ROW = bytes(8)
_CACHE_BYTES = 1 << 20
# A directory of the user's own is not written to, and a low rate would delay the trial.
_LEFT_OUT = frozenset({"db_log_dir", "ratelimiter", "auto_tuned_ratelimiter"})
# The file system of the temporary directory may lack these while that of the state has them. Beside
# memory-mapped files RocksDB refuses them wherever they are.
_OF_THE_DISK = {
    "use_direct_reads": "allow_mmap_reads",
    "use_direct_io_for_flush_and_compaction": "allow_mmap_writes",
}
# Values that ask RocksDB to choose.
_CHOOSE = frozenset(
    {
        ("arena_block_size", 0),
        ("max_compaction_bytes", 0),
        ("max_write_buffer_size_to_maintain", -1),
        ("soft_pending_compaction_bytes_limit", 0),
    }
)
# Lowered to what the process is allowed: a machine's limit is no mistake in a setting.
_LOWERED = frozenset({"max_open_files"})
_FILE_NAMES = {binding: rocksdb for rocksdb, binding in ALIASES.items()}
_SECTION = re.compile(r'^\[(\w+)(?:/\w+)?(?: "(.*)")?\]$')
# Of RocksDB's errors about a disk those that come from options alone.
_ABOUT_OPTIONS = "RocksDBOptionsParser"

Made = dict[str, dict[str, str]]


class _Entry(NamedTuple):
    """An option as it was given: by a store, or by the worker (no store)."""

    store: str
    given: str
    value: Any
    place: str

    @property
    def name(self) -> str:
        return ALIASES.get(self.given, self.given)

    def __str__(self) -> str:
        return f"{self.place}: {self.given} = {self.value!r}"


class _RefusedError(Exception):
    """What RocksDB said against options."""


def check_topology(topology: Topology, config: Config) -> None:
    """Check the options of the worker and of all stores of an application: names and types, and
    whether RocksDB takes them as they are. Raises ConfigError."""
    sources = {
        name: config.origins[f"rocksdb.{name}"]
        for name in config.rocksdb
        if f"rocksdb.{name}" in config.origins
    }
    worker = [
        _Entry("", given, value, f"{sources[given]}: rocksdb" if given in sources else "rocksdb")
        for given, value in config.rocksdb.items()
    ]
    tried = []
    for subtopology in topology.subtopologies:
        check_stores(subtopology.stores, config.rocksdb, sources)
        different = {repr(spec.rocksdb): spec for spec in reversed(subtopology.stores)}
        if sorted(different) not in tried:
            tried.append(sorted(different))
            _try(list(different.values()), worker)


def _try(specs: Sequence[StoreSpec], worker: Sequence[_Entry]) -> None:
    own = [
        _Entry(spec.name, given, value, f"store {spec.name}")
        for spec in specs
        for given, value in spec.rocksdb.items()
    ]
    entries = _portable([*worker, *own])
    if not entries:
        return
    try:
        made = _opened(specs, entries)
    except _RefusedError as error:
        blamed = _needed(specs, entries, str(error))
        raise ConfigError(
            f"RocksDB refuses {'; '.join(map(str, blamed))}: {error}",
            hint="change or remove one of them; docs/rocksdb-options.md lists every option",
        ) from error
    except OSError as error:
        _log.warning("the options of RocksDB could not be tried before the start: %s", error)
        return
    changed = [f"{entry}, which becomes {other}" for entry, other in _changed(entries, made)]
    if changed:
        raise ConfigError(
            f"RocksDB does not take {'; '.join(changed)}",
            hint="give a value that it can keep, or change the option which bounds it;"
            " docs/rocksdb-options.md lists every option",
        )


def _portable(entries: Sequence[_Entry]) -> list[_Entry]:
    """The options that mean the same in any directory."""
    given = {entry.name for entry in entries}
    return [
        entry
        for entry in entries
        if entry.name not in _LEFT_OUT and _OF_THE_DISK.get(entry.name, entry.name) in given
    ]


def _needed(specs: Sequence[StoreSpec], entries: Sequence[_Entry], said: str) -> list[_Entry]:
    """Those without which RocksDB would not have said it."""
    needed = list(entries)
    for entry in entries:
        fewer = [one for one in needed if one is not entry]
        try:
            _opened(specs, fewer)
        except _RefusedError as error:
            if str(error) == said:
                needed = fewer
        except OSError:
            break
    return needed


def _opened(specs: Sequence[StoreSpec], entries: Sequence[_Entry]) -> Made:
    """What RocksDB makes of the options, by family and name.

    Raises _RefusedError, or OSError for what has to do with the disk and not with options.
    """
    worker = {entry.given: entry.value for entry in entries if not entry.store}
    own: dict[str, dict[str, Any]] = {spec.name: {} for spec in specs}
    for entry in entries:
        if entry.store:
            own[entry.store][entry.given] = entry.value
    tried = [replace(spec, rocksdb=own[spec.name]) for spec in specs]
    options = OptionSet(tried, worker, MemoryPool(_CACHE_BYTES, WRITE_BUFFER_BYTES_MIN))
    with TemporaryDirectory(prefix="streamer-options-", ignore_cleanup_errors=True) as folder:
        try:
            _write(Path(folder), tried, options)
        except Exception as error:
            said = str(error)
            if type(error) is not Exception:
                raise
            if said.startswith("IO error") and _ABOUT_OPTIONS not in said:
                raise OSError(said) from error
            raise _RefusedError(said.strip().rstrip(".")) from error
        files = sorted(Path(folder).glob("OPTIONS-*"))
        return _parsed(files[-1].read_text(encoding="utf-8"))


def _write(directory: Path, specs: Sequence[StoreSpec], options: OptionSet) -> None:
    main = options.database()
    each = {family_name(spec.name): options.family(spec.name) for spec in specs}
    for spec in specs:
        if spec.is_indexed_by_time:
            each[family_name(spec.name, index=True)] = options.family(spec.name, index=True)
    database = Rdict(str(directory), main, {DEFAULT: main, **each})
    families = [database, *(database.get_column_family(name) for name in each)]
    try:
        for family in families:
            family[_ROW] = _ROW
            family.flush(True)
    finally:
        # What cannot be written cannot be written at the end either, which closing would say again.
        for family in reversed(families):
            with suppress(Exception):
                family.close()


def _parsed(text: str) -> Made:
    """An OPTIONS file: the database's own options under the empty name, the others by family."""
    made: Made = {}
    section: dict[str, str] = {}
    for line in text.splitlines():
        head = _SECTION.match(line.strip())
        if head is not None:
            section = made.setdefault(head[2] or "", {})
            continue
        name, equals, value = line.strip().partition("=")
        if equals:
            section[name] = value
    return made


def _changed(entries: Sequence[_Entry], made: Made) -> Iterator[tuple[_Entry, str]]:
    """The numbers and switches that RocksDB made something else of, with what it made."""
    set_by = {(entry.store, entry.name) for entry in entries}
    stores = {entry.store for entry in entries}
    for entry in entries:
        value = natural(settings()[entry.name], entry.value)
        if not isinstance(value, int | float) or (entry.name, value) in _CHOOSE:
            continue
        if entry.name in DATABASE_WIDE:
            is_overruled = not entry.store and any(
                (one, entry.name) in set_by for one in stores - {""}
            )
            places = [] if is_overruled else [""]
        elif entry.store:
            places = [family_name(entry.store)]
        else:
            own = {family_name(one) for one in stores if one and (one, entry.name) in set_by}
            places = [name for name in made if name and name not in own]
        for place in places:
            other = _other(entry.name, value, made.get(place, {}))
            if other:
                yield entry, other
                break


def _other(name: str, value: float, section: dict[str, str]) -> str:
    """What stands in place of the value; empty where it stands itself, or nothing comparable."""
    text = section.get(name, section.get(_FILE_NAMES.get(name, ""), ""))
    if isinstance(value, bool):
        return text if text in ("true", "false") and (text == "true") != value else ""
    try:
        number = float(text)
    except ValueError:
        return ""
    # Fractions are written with six digits.
    is_same = abs(number - value) <= 1e-6 * max(1.0, abs(value))
    is_lowered = name in _LOWERED and 0 < number < value
    return "" if is_same or is_lowered else text
