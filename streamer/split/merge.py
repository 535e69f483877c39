"""The parts of all units for one task of the next layout, put together as its database.

    <database>.merging/begun.json     whose it is; from the begin
                       links/         the parts once more, for RocksDB to take
                       database/
    <database>.merged.json            what the database was made of; before it has its name
    <database>                        the database is there when its directory has this name

Parts stay as they are, so this can be done again after a kill, and for every database that is to
start from them. Files of several units lie between each other, windows most of all, whose keys
begin with a time; no key is in two of them, which the units have made sure of. So they are merged
into one level, by RocksDB, which takes the size of the database once more while it lasts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from streamer import failpoints
from streamer.changelog.format import Positions
from streamer.errors import OperationRefusedError, StateDirectoryError, TaskCorruptedError
from streamer.ids import TaskId
from streamer.snapshot.disk import digest_of, sync
from streamer.split.carried import Carried, Parent, carry
from streamer.split.homes import parents_of
from streamer.split.move import Move, MoveRecord, Text
from streamer.split.record import Hex, Part, PartFile, UnitRecord, check_places
from streamer.split.sealed import VERSION, held, load, save
from streamer.split.totals import Totals, total
from streamer.split.unit import begin, load_unit, remove_own, unit_directory
from streamer.store.assembly import assemble
from streamer.store.schema import family_name, format_record, kind_record
from streamer.store.tables import table_options
from streamer.topology.declared import named
from streamer.topology.stores import StoreKind

__all__ = ["MergeRecord", "load_merge", "load_units", "merge_target"]


class MergeRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`totals` are by family. `rebuilt` are indexes that no part was taken of: whoever opens the
    database makes them. `left` is by store what closed in the latest time of its parents and was
    not passed on: by parent the first row that was not."""

    version: int
    move: MoveRecord
    task: Text
    origins: dict[Text, Text]
    stores: dict[Text, Text]
    totals: dict[Text, Totals]
    rebuilt: list[Text]
    metadata: dict[str, Hex]
    # By parent and by store ("": its own stream time): how far apart those are that became one.
    times: dict[Text, dict[Text, int]]
    left: dict[Text, dict[Text, Hex]]

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.totals.values())


_decoder = msgspec.json.Decoder(MergeRecord)


def load_units(move: Move, directory: Path) -> dict[int, UnitRecord]:
    """The records of all units of a move, by task.

    Raises OperationRefusedError where one is missing, of another move, or has rows that lie in
    another task than their keys say.
    """
    found: dict[int, UnitRecord] = {}
    missing = []
    for number in range(move.source.tasks):
        task = TaskId(move.subtopology, number)
        record = load_unit(directory, task)
        if record is None:
            missing.append(str(task))
        elif record.move != move.record:
            raise OperationRefusedError(
                f"{unit_directory(directory, task)} is not a unit of operation {move.operation}",
                hint="name the directory that this operation splits into",
            )
        else:
            check_places(record)
            found[number] = record
    if missing:
        raise OperationRefusedError(
            f"{len(missing)} of {move.source.tasks} units are missing: {', '.join(missing[:10])}",
            hint="split them first: a task is made of the parts of all of them",
        )
    return found


def merge_target(move: Move, task: TaskId, *, units: Path, database: Path) -> MergeRecord:
    """Make the database of a task of the next layout of the units below `units`.

    Returns the record that is there where this was done before. Raises OperationRefusedError where
    units are missing or not to be used, or while another process makes the same database,
    TaskCorruptedError for a part whose bytes are not those that were written, and
    StateDirectoryError where the disk refuses or something else has the database's name.
    """
    if task.subtopology != move.subtopology or task.partition >= move.target.tasks:
        raise OperationRefusedError(
            f"task {task} is none of the {move.target.tasks} of subtopology {move.subtopology}",
            hint="a task of the layout that is made",
        )
    with held(database.with_name(f"{database.name}.lock")):
        note = database.with_name(f"{database.name}.merged.json")
        working = database.with_name(f"{database.name}.merging")
        record = load(note, _decoder)
        if database.exists():
            if record is None or (record.move, record.task) != (move.record, str(task)):
                raise StateDirectoryError(
                    f"{database} is there, and operation {move.operation} has not made it",
                    hint="name another directory, or move that one away",
                )
            remove_own(move, working)
            return record
        begin(move, working)
        record = _Merging(move, task, units, directory=working).record()
        failpoints.hit("merge.before_record")
        save(note, record)
        failpoints.hit("merge.before_rename")
        (working / "database").rename(database)
        sync(database.parent)
        failpoints.hit("merge.after_rename")
        remove_own(move, working)
        return record


def load_merge(database: Path) -> MergeRecord | None:
    """What the database in this place was made of; None where no merge has made it."""
    return load(database.with_name(f"{database.name}.merged.json"), _decoder)


class _Merging:
    def __init__(self, move: Move, task: TaskId, units: Path, *, directory: Path) -> None:
        self._move = move
        self._task = task
        self._units = units
        self._directory = directory
        self._records = load_units(move, units)
        self._kinds = _kinds(self._records.values())

    def record(self) -> MergeRecord:
        indexed = self._indexed()
        families = {
            name: parts
            for name, parts in self._parts().items()
            if not _is_index(name) or name.partition(".")[2] in indexed
        }
        carried = self._carried()
        metadata = carried.encode(self._move.source)
        records = dict([format_record()])
        records |= dict(
            kind_record(store, kind, is_indexed=store in indexed)
            for store, kind in self._kinds.items()
        )
        records |= {name.encode(): value for name, value in metadata.items()}
        links = self._links(families)
        assemble(
            self._directory / "database",
            links,
            records,
            options=table_options(self._move.specs, dict(self._move.rocksdb)),
            after_family=lambda: failpoints.hit("merge.after_family"),
        )
        sync(self._directory / "database")
        return MergeRecord(
            version=VERSION,
            move=self._move.record,
            task=str(self._task),
            origins={one.task: one.origin for one in self._records.values()},
            stores={store: kind.value for store, kind in self._kinds.items()},
            totals={name: total(part.totals for part in parts) for name, parts in families.items()},
            rebuilt=sorted(set(self._parts()) - set(families)),
            metadata={name: value.hex() for name, value in metadata.items()},
            times=self._times(),
            left={
                store: {str(parent): key.hex() for parent, key in parents.items()}
                for store, parents in carried.passed.items()
            },
        )

    def _parts(self) -> dict[str, list[Part]]:
        """By family, in the order of units; also of families that have none for this task."""
        found: dict[str, list[Part]] = {}
        for record in self._records.values():
            for family in record.families:
                found.setdefault(family, [])
            for part in record.parts:
                if part.target == self._task.partition:
                    found[part.family].append(part)
        return dict(sorted(found.items()))

    def _indexed(self) -> frozenset[str]:
        """Stores whose index is whole in every unit that has rows of it. Half of an index would be
        taken for all of it; without any, whoever opens the database makes it."""
        without, having = set[str](), set[str]()
        for record in self._records.values():
            filled = {part.family for part in record.parts}
            for store in record.stores:
                if store.is_indexed:
                    having.add(store.name)
                elif family_name(store.name) in filled:
                    without.add(store.name)
        return frozenset(having - without)

    def _links(self, families: Mapping[str, Sequence[Part]]) -> dict[str, list[list[Path]]]:
        directory = self._directory / "links"
        directory.mkdir(mode=0o700)
        number, found = 0, dict[str, list[list[Path]]]()
        units = {
            id(part): unit_directory(self._units, TaskId.parse(record.task))
            for record in self._records.values()
            for part in record.parts
        }
        for family, parts in families.items():
            found[family] = []
            for part in parts:
                group = []
                for file in part.files:
                    number += 1
                    link = directory / f"{number:06d}.sst"
                    _take(units[id(part)] / file.name, link, file)
                    group.append(link)
                found[family].append(group)
        return found

    def _carried(self) -> Carried:
        source = self._move.source
        carried = carry(
            self._parents(),
            self._kinds,
            self._move.closing_lags,
            position=self._move.changelog_position,
        )
        if carried.passed and named(source.name) != source.partitioner:
            raise OperationRefusedError(
                f"the workers could not find the partitioner {source.name} by its name, and need it"
                " to pass on what has closed",
                hint="declare a function of a module that the workers have, under its own name",
            )
        return carried

    def _parents(self) -> list[Parent]:
        """Of a store with partition keys of its own any task may be one."""
        move = self._move
        numbers = parents_of(self._task.partition, move.source, move.target)
        if any(spec.partition_key is not None for spec in move.specs):
            numbers = frozenset(self._records)
        return [
            Parent(
                task=number,
                positions=_positions(self._records[number]),
                filled=_filled(self._records[number]),
                passed={
                    store: bytes.fromhex(key) for store, key in self._records[number].passed.items()
                },
            )
            for number in sorted(numbers)
        ]

    def _times(self) -> dict[str, dict[str, int]]:
        return {
            str(TaskId(self._move.subtopology, parent.task)): {
                "": parent.positions.stream_time_ms,
                **parent.positions.times,
            }
            for parent in self._parents()
        }


def _positions(record: UnitRecord) -> Positions:
    return Positions.decode({name: bytes.fromhex(value) for name, value in record.metadata.items()})


def _filled(record: UnitRecord) -> frozenset[str]:
    return frozenset(
        part.family.partition(".")[2] for part in record.parts if not _is_index(part.family)
    )


def _is_index(family: str) -> bool:
    return family == family_name(family.partition(".")[2], index=True)


def _kinds(records: Iterable[UnitRecord]) -> dict[str, StoreKind]:
    """The kind of each store. Raises OperationRefusedError where tasks differ about one; one that
    has no rows does not count."""
    found: dict[str, tuple[str, str]] = {}
    for is_filled in (True, False):
        for record in records:
            filled = _filled(record)
            for store in record.stores:
                if (store.name in filled) is not is_filled:
                    continue
                kind, task = found.setdefault(store.name, (store.kind, record.task))
                if kind != store.kind and is_filled:
                    raise OperationRefusedError(
                        f"store {store.name} is a {kind} store in task {task}, and a"
                        f" {store.kind} store in task {record.task}",
                        hint="one of them is of another topology: split what runs",
                    )
    return {store: StoreKind(kind) for store, (kind, _task) in sorted(found.items())}


def _take(source: Path, link: Path, file: PartFile) -> None:
    """A link of a part, or a copy on another disk; its bytes are those that were written."""
    try:
        try:
            os.link(source, link)
        except OSError:
            if not source.is_file():
                raise
            shutil.copyfile(source, link)
            sync(link)
        found = digest_of(link)
    except OSError as error:
        raise StateDirectoryError(
            f"the part {source} cannot be taken: {error.strerror}",
            hint="it must be there until all databases are made; split its unit again",
        ) from error
    if found != file.sha256:
        raise TaskCorruptedError(
            f"the part {source} has other bytes than were written",
            hint="move its unit's directory away and split it again; check the disk",
        )
