"""What it takes to split a state for another number of tasks, to merge its parts, and to compare.

Databases of random rows of 100 bytes, keys of 18 included, as a repartition of 4 tasks to 6 finds
them in snapshots. One process does one task after the other: a unit is a task, and units share
nothing, so several processes do as much each. `rows/s` is by CPU seconds of the process with all of
its threads, so it is what a core does; waits for the disk are in the seconds beside it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.options import Options
from bench.report import Column, Row
from bench.run import failure, say
from streamer.ids import FIRST_LAYOUT, Layout, TaskId
from streamer.layout import KnownPartitioner
from streamer.split.homes import Homes
from streamer.split.merge import merge_target
from streamer.split.move import Move
from streamer.split.unit import split_unit
from streamer.split.vectors import tasks_of
from streamer.split.verify import verify
from streamer.store.keys import row, session_key, window_key
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store, StoreKind, StoreSpec

TITLE = "split"
COLUMNS = (
    Column("case", "case"),
    Column("rows", "rows", ",.0f"),
    Column("split_rows_per_s", "split, rows/s", ",.0f", spread=True),
    Column("merge_rows_per_s", "merge, rows/s", ",.0f", spread=True),
    Column("verify_rows_per_s", "verify, rows/s", ",.0f", spread=True),
    Column("split_s", "s", ".1f", spread=True),
    Column("merge_s", "s", ".1f", spread=True),
    Column("verify_s", "s", ".1f", spread=True),
    Column("state_mib", "state MiB", ",.0f"),
    Column("parts_mib", "parts, MiB", ",.0f"),
    Column("correct", "correct"),
)
SOURCES, TARGETS = 4, 6
_ROW_BYTES = 100
_CHUNK_ROWS = 100_000
_MIB = 1 << 20


@dataclass(frozen=True)
class Kind:
    """A store, and how keys are placed."""

    title: str
    partitioner: KnownPartitioner = "murmur2"
    kind: StoreKind = StoreKind.KEY_VALUE
    windows: int = 1

    @property
    def spec(self) -> StoreSpec:
        spec = Store("totals", bytes, bytes).spec()
        if self.kind is StoreKind.KEY_VALUE:
            return spec
        return StoreSpec(
            spec.name,
            self.kind,
            spec.key,
            spec.value,
            retention_ms=3_600_000,
            window_size_ms=60_000,
            window_advance_ms=60_000,
        )

    def rows(self, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for number in range(self.windows):
            start_ms = 60_000 * number
            for key in keys:
                value = row(start_ms, os.urandom(_ROW_BYTES - len(key) - 9), self.kind)
                yield self._stored(key, start_ms), value

    def _stored(self, key: bytes, start_ms: int) -> bytes:
        match self.kind:
            case StoreKind.WINDOW:
                return window_key(start_ms, key)
            case StoreKind.SESSION:
                return session_key(key, start_ms, start_ms)
        return key


SYSTEMS = (
    Kind("key-value, murmur2"),
    Kind("key-value, consistent", partitioner="consistent"),
    Kind("ten windows of each key", kind=StoreKind.WINDOW, windows=10),
    Kind("ten sessions of each key", kind=StoreKind.SESSION, windows=10),
)


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs of a kind when they are done."""
    count = options.events or 1_000_000
    for kind in options.chosen(SYSTEMS):
        rows: list[Row] = []
        for turn in range(1, options.runs + 1):
            say(f"{kind.title}, run {turn} of {options.runs}: {count:,} rows")
            with tempfile.TemporaryDirectory(prefix="streamer-bench-") as home:
                found: dict[str, object] = {"case": kind.title}
                try:
                    found |= _Run(kind, count, Path(home)).row()
                except Exception as error:
                    found |= {"correct": False, "error": failure(error)}
                rows.append(found)
        emit(rows)


@dataclass
class _Run:
    kind: Kind
    count: int
    home: Path
    figures: dict[str, object] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        move = Move(
            operation="bench",
            application="bench",
            subtopology=0,
            source_layout=FIRST_LAYOUT,
            source=Homes(SOURCES, SOURCES, self.kind.partitioner),
            target_layout=Layout(FIRST_LAYOUT + 1),
            target=Homes(TARGETS, TARGETS, self.kind.partitioner),
            specs=(self.kind.spec,),
        )
        sources = self._fill(move.source)
        units, targets = self.home / "units", {}
        with self._timed("split"):
            split = [
                split_unit(move, TaskId(0, task), path, directory=units).rows
                for task, path in sources.items()
            ]
        with self._timed("merge"):
            for task in range(TARGETS):
                targets[task] = self.home / "targets" / f"0_{task}"
                merge_target(move, TaskId(0, task), units=units, database=targets[task])
        with self._timed("verify"):
            verdict = verify(move, sources, targets, notes=self.home / "notes")
        self.figures |= {
            "rows": self.count,
            "state_mib": _size(self.home / "sources"),
            "parts_mib": _size(units),
            "correct": verdict.is_equal and verdict.rows == sum(split) == self._entries(),
        }
        return self.figures

    def _entries(self) -> int:
        """Each session has a row, and an entry of the index by time."""
        return self.count * (1 + (self.kind.kind is StoreKind.SESSION))

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        """A verification reads the rows of both layouts; one of each counts once."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.figures[f"{what}_s"] = time.perf_counter() - wall
        self.figures[f"{what}_rows_per_s"] = self.count / (time.process_time() - cpu)

    def _fill(self, homes: Homes) -> dict[int, Path]:
        keys = [b"customer-%09d" % number for number in range(self.count // self.kind.windows)]
        placed = tasks_of(keys, homes)[0].tolist()
        sources = {task: self.home / "sources" / f"0_{task}" for task in range(SOURCES)}
        for task, path in sources.items():
            mine = [key for key, home in zip(keys, placed, strict=True) if home == task]
            database = TaskDatabase.open(
                path, (self.kind.spec,), pool=MemoryPool(64 * _MIB, 64 * _MIB), options={}
            )
            try:
                rows = list(self.kind.rows(mine))
                for begin in range(0, len(rows), _CHUNK_ROWS):
                    database.ingest("totals", dict(rows[begin : begin + _CHUNK_ROWS]))
                database.flush()
            finally:
                database.close()
        return sources


def _size(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.rglob("*.sst")) / _MIB
