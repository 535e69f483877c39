"""States of several tasks in real databases, split and merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from streamer.changelog.format import Positions
from streamer.ids import FIRST_LAYOUT, Layout, TaskId
from streamer.split.homes import Homes
from streamer.split.merge import merge_target
from streamer.split.move import Move
from streamer.split.unit import split_unit
from streamer.store.keys import row, session_key, window_key
from streamer.store.pool import MemoryPool
from streamer.store.reading import StoredDatabase
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store, StoreKind, StoreSpec

PLAIN = Store("plain", bytes, bytes).spec()
# 64 s, so that the buckets of its index have 1 s.
TTL = Store("ttl", bytes, bytes, ttl=timedelta(seconds=64)).spec()
WINDOWS = replace(
    PLAIN,
    name="windows",
    kind=StoreKind.WINDOW,
    window_size_ms=10_000,
    window_advance_ms=10_000,
    retention_ms=20_000,
)
SESSIONS = replace(PLAIN, name="sessions", kind=StoreKind.SESSION, retention_ms=20_000)
SPECS = (PLAIN, TTL, WINDOWS, SESSIONS)

Rows = dict[str, dict[bytes, bytes]]


@dataclass(frozen=True)
class Entry:
    """A row of a store for a record key; `start_ms` is that of a window or a session."""

    store: str
    key: bytes
    time_ms: int = 0
    value: bytes = b"value"
    start_ms: int = 0

    @property
    def stored_key(self) -> bytes:
        if self.store == "windows":
            return window_key(self.start_ms, self.key)
        if self.store == "sessions":
            return session_key(self.key, self.start_ms, self.time_ms)
        return self.key

    @property
    def row(self) -> bytes:
        kind = next(spec.kind for spec in SPECS if spec.name == self.store)
        return row(self.time_ms, self.value, kind)


def move(
    source: Homes, target: Homes, operation: str = "op-1", layout: int = FIRST_LAYOUT, **more: Any
) -> Move:
    known = {"specs": SPECS, **more}
    return Move(
        operation=operation,
        application="spend",
        subtopology=0,
        source_layout=Layout(layout),
        source=source,
        target_layout=Layout(layout + 1),
        target=target,
        **known,
    )


def write(
    directory: Path,
    entries: Iterable[Entry],
    *,
    specs: Sequence[StoreSpec] = SPECS,
    positions: Positions | None = None,
    rounds: int = 1,
) -> Path:
    """A task's database, in as many files as there are `rounds`."""
    known = positions or Positions(stream_time_ms=100, as_of_ms=1_000)
    every = list(entries)
    database = TaskDatabase.open(directory, specs, pool=MemoryPool(1 << 20, 1 << 20), options={})
    try:
        for number in range(rounds):
            changes: dict[str, list[tuple[bytes, bytes | None]]] = {}
            for entry in every[number::rounds]:
                changes.setdefault(entry.store, []).append((entry.stored_key, entry.row))
            database.write(changes, known.encode())
            database.flush()
    finally:
        database.close()
    return directory


def fill(root: Path, homes: Homes, entries: Sequence[Entry], **more: Any) -> dict[int, Path]:
    """The databases of a layout's tasks, with each entry at home."""
    return {
        task: write(
            root / f"0_{task}", [one for one in entries if homes.home(one.key) == task], **more
        )
        for task in range(homes.tasks)
    }


def moved(step: Move, sources: Mapping[int, Path], work: Path) -> dict[int, Path]:
    """Split all, merge all: the databases of the next layout."""
    for task, source in sources.items():
        split_unit(step, TaskId(0, task), source, directory=work / "units")
    return {task: merged(step, task, work) for task in range(step.target.tasks)}


def merged(step: Move, task: int, work: Path) -> Path:
    database = work / "databases" / f"0_{task}"
    merge_target(step, TaskId(0, task), units=work / "units", database=database)
    return database


def contents(directory: Path) -> Rows:
    """All rows by family."""
    with StoredDatabase(directory) as database:
        return {
            family: {
                key: row
                for block in database.blocks(family)
                for key, row in zip(*block, strict=True)
            }
            for family in database.families
        }


def metadata(directory: Path) -> dict[str, bytes]:
    with StoredDatabase(directory) as database:
        return database.metadata


def together(databases: Mapping[int, Path]) -> Rows:
    """The rows of all tasks of a layout; no key may be in two of them."""
    found: Rows = {}
    for directory in databases.values():
        for family, rows in contents(directory).items():
            mine = found.setdefault(family, {})
            assert not mine.keys() & rows.keys()
            mine.update(rows)
    return found


def files(directory: Path) -> dict[str, bytes]:
    """The bytes of every file below a directory but locks."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


NAMES = [f"customer-{number}".encode() for number in range(200)]


def several(keys: list[bytes] | None = None) -> list[Entry]:
    """Rows of every kind of store; windows of many keys that share their starts."""
    found = []
    for number, key in enumerate(NAMES if keys is None else keys):
        found += [
            Entry("plain", key, number, b"%d" % number * (number % 9)),
            Entry("ttl", key, number * 300, b"ttl"),
            *[Entry("windows", key, at, b"w", start_ms=at) for at in (0, 10_000, 20_000)],
            Entry("sessions", key, number + 5, b"s", start_ms=number),
        ]
    return found
