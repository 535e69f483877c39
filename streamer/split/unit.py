"""A unit: the state of one task, split for the tasks of the next layout.

    <directory>/0_3.part/begun.json           whose it is; from the begin
                         to-5/store.totals-0000.sst
    <directory>/0_3/unit.json                 the unit is there when its directory has this name
    <directory>/0_3.lock                      held by whoever makes it

One pass over each family, in the order of its keys, so every file comes out sorted. Entries of an
index by time are split like rows: making them anew from rows would need a sort of all of them. What
a killed process left is made again by the next; a unit that is there is only looked at.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from streamer import failpoints
from streamer.changelog.format import Positions
from streamer.errors import OperationRefusedError, StateDirectoryError, TaskCorruptedError
from streamer.ids import TaskId
from streamer.snapshot.disk import digest_of, make_private, sync
from streamer.split.carried import check_known, passed_of
from streamer.split.fingerprint import Ledger
from streamer.split.keyed import Family, families_of
from streamer.split.move import Move, MoveRecord, checked_text
from streamer.split.record import (
    Misplaced,
    Part,
    PartFile,
    StoreRecord,
    UnitRecord,
    unit_decoder,
)
from streamer.split.sealed import VERSION, held, load, save
from streamer.split.totals import Totals
from streamer.split.vectors import tasks_of
from streamer.store.reading import StoredDatabase
from streamer.store.tables import Tables, table_options

__all__ = ["Begun", "begin", "load_unit", "remove_own", "split_unit", "unit_directory"]

EXAMPLES_MAX = 20
_RECORD = "unit.json"
_BEGUN = "begun.json"


class Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a directory is being made for."""

    version: int
    move: MoveRecord


_begun_decoder = msgspec.json.Decoder(Begun)


def unit_directory(directory: Path, task: TaskId) -> Path:
    return directory / str(task)


def split_unit(
    move: Move,
    task: TaskId,
    source: Path | None,
    *,
    directory: Path,
    origin: str = "",
    on_rows: Callable[[int], None] = lambda _rows: None,
) -> UnitRecord:
    """Split the database in `source` (None: the task has no state) into parts below `directory`.

    `origin` names what it is, such as a snapshot's id; `on_rows` hears of each block, and may
    raise to stop. Returns the record that is there where this was done before.

    Raises TaskCorruptedError where the source is damaged or holds what is not known here,
    StateDirectoryError where the disk refuses, ProcessingError where a function of the user
    fails, OperationRefusedError while another process makes the same unit, or where the directory
    has one of another operation or origin.
    """
    if task.subtopology != move.subtopology or task.partition >= move.source.tasks:
        raise OperationRefusedError(
            f"task {task} is none of the {move.source.tasks} of subtopology {move.subtopology}",
            hint="a unit is a task of the layout that is split",
        )
    checked_text(origin)
    target = unit_directory(directory, task)
    with held(target.with_name(f"{target.name}.lock")):
        done = _done(move, task, target, origin=origin)
        if done is not None:
            return done
        part = begin(move, target.with_name(f"{target.name}.part"))
        record = _Splitting(move, task, part, on_rows=on_rows).record(source, origin)
        failpoints.hit("split.before_record")
        save(part / _RECORD, record)
        failpoints.hit("split.before_rename")
        part.rename(target)
        sync(directory)
        failpoints.hit("split.after_rename")
        return record


def load_unit(directory: Path, task: TaskId) -> UnitRecord | None:
    """None where the unit is not there."""
    return load(unit_directory(directory, task) / _RECORD, unit_decoder)


def begin(move: Move, part: Path) -> Path:
    """An empty directory to work in; what an earlier process of this operation left in it goes.

    Raises OperationRefusedError where it is another's.
    """
    remove_own(move, part)
    try:
        make_private(part)
    except OSError as error:
        raise StateDirectoryError(
            f"{part} cannot be made: {error.strerror}",
            hint="name a directory that this user may write to",
        ) from error
    save(part / _BEGUN, Begun(VERSION, move.record))
    return part


def remove_own(move: Move, part: Path) -> None:
    """Remove a directory that this operation has worked in, where there is one. What says whose it
    is goes last, so that a kill in between leaves it known. Raises OperationRefusedError for
    another's."""
    if not part.exists():
        return
    inside = {path for path in part.iterdir() if path.name != f"{_BEGUN}.part"}
    begun = load(part / _BEGUN, _begun_decoder)
    if inside and (begun is None or begun.move.operation != move.operation):
        whose = "nobody's that is known" if begun is None else begun.move.operation
        raise OperationRefusedError(
            f"{part} is there, and is not of operation {move.operation} but {whose}",
            hint="name another directory, or move that one away",
        )
    for path in inside - {part / _BEGUN}:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.rmtree(part)


def _done(move: Move, task: TaskId, target: Path, *, origin: str) -> UnitRecord | None:
    if not target.exists():
        return None
    record = load(target / _RECORD, unit_decoder)
    if record is None or (record.move, record.task) != (move.record, str(task)):
        raise OperationRefusedError(
            f"{target} is there, and is not unit {task} of operation {move.operation}",
            hint="name another directory, or move that one away",
        )
    if record.origin != origin:
        raise OperationRefusedError(
            f"{target} was split from {record.origin or 'what had no name'}, not from {origin}",
            hint="go on with that one, or name another directory to begin again",
        )
    for file in (file for part in record.parts for file in part.files):
        path = target / file.name
        if not path.is_file() or path.stat().st_size != file.size:
            raise TaskCorruptedError(
                f"{path} is not as unit {task} of operation {move.operation} has left it",
                hint=f"move {target} away, and split it again",
            )
    return record


class _Splitting:
    def __init__(
        self, move: Move, task: TaskId, directory: Path, *, on_rows: Callable[[int], None]
    ) -> None:
        self._move = move
        self._task = task
        self._directory = directory
        self._on_rows = on_rows
        self._options = table_options(move.specs, dict(move.rocksdb))
        self._parts: list[Part] = []
        self._misplaced: list[Misplaced] = []

    def record(self, source: Path | None, origin: str) -> UnitRecord:
        families: list[str] = []
        stores: list[StoreRecord] = []
        metadata: dict[str, bytes] = {}
        passed: dict[str, bytes] = {}
        if source is not None:
            with StoredDatabase(source) as database:
                metadata = database.metadata
                check_known(metadata, source)
                found = families_of(database, self._move.specs)
                stores = _stores(database, found)
                for family in found:
                    self._split(database, family)
                    families.append(family.name)
                    failpoints.hit("split.after_family")
                passed = passed_of(
                    database,
                    Positions.decode(metadata),
                    lags=self._move.closing_lags,
                    filled={part.family for part in self._parts},
                )
        for part in {self._directory / f"to-{part.target}" for part in self._parts}:
            sync(part)
        sync(self._directory)
        return UnitRecord(
            version=VERSION,
            move=self._move.record,
            task=str(self._task),
            origin=origin,
            families=families,
            stores=stores,
            metadata={name: value.hex() for name, value in metadata.items()},
            passed={store: key.hex() for store, key in passed.items()},
            misplaced=self._misplaced,
            parts=self._parts,
        )

    def _split(self, database: StoredDatabase, family: Family) -> None:
        move, own = self._move, self._task.partition
        ledger = Ledger(move.target.tasks, move.salt)
        tables = Tables(
            lambda target, number: (
                self._directory / f"to-{target}" / f"{family.name}-{number:04d}.sst"
            ),
            self._options,
            store=family.store,
            is_index=family.is_index,
            targets=move.target.tasks,
        )
        wrong_rows, wrong_keys = 0, list[str]()
        for block in database.blocks(family.name):
            homes, targets = tasks_of(family.keys_of(block.keys), move.source, move.target)
            tables.add(targets.tolist(), block.keys, block.rows)
            ledger.add(targets, block.keys, block.rows)
            wrong = np.flatnonzero(homes != own).tolist()
            wrong_rows += len(wrong)
            wrong_keys += [block.keys[at].hex() for at in wrong[: EXAMPLES_MAX - len(wrong_keys)]]
            self._on_rows(len(block.keys))
            failpoints.hit("split.after_block")
        if wrong_rows:
            self._misplaced.append(Misplaced(family.name, wrong_rows, wrong_keys))
        written, totals = tables.finish(), ledger.totals()
        self._parts += [
            self._part(family.name, target, totals[target], written[target])
            for target in sorted(totals)
        ]

    def _part(self, family: str, target: int, totals: Totals, paths: list[Path]) -> Part:
        try:
            files = [
                PartFile(
                    name=str(path.relative_to(self._directory)),
                    size=path.stat().st_size,
                    sha256=_synced(path),
                )
                for path in paths
            ]
        except OSError as error:
            raise StateDirectoryError(
                f"what was written below {self._directory} cannot be read: {error}",
                hint="look at the disk, and run it again: this unit is made anew",
            ) from error
        return Part(target, family, totals, files)


def _synced(path: Path) -> str:
    sync(path)
    return digest_of(path)


def _stores(database: StoredDatabase, families: list[Family]) -> list[StoreRecord]:
    kinds = database.kinds
    kind_of = {family.store: family.kind for family in families}
    return [
        StoreRecord(store, kind.value, store in kinds and kinds[store][1])
        for store, kind in sorted(kind_of.items())
    ]
