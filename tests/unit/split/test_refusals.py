"""Rows in the wrong task, damaged files, others' directories: refused by name, nothing touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from streamer.errors import (
    OperationRefusedError,
    ProcessingError,
    RegistryUnavailableError,
    StateDirectoryError,
    TaskCorruptedError,
)
from streamer.ids import TaskId
from streamer.split.homes import Homes
from streamer.split.keyed import keys_of_rows
from streamer.split.merge import merge_target
from streamer.split.unit import load_unit, split_unit
from streamer.split.verify import verify
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.serde import serde_of
from streamer.topology.stores import Store, StoreKind
from tests.unit.split.rig import (
    NAMES,
    Entry,
    contents,
    fill,
    metadata,
    move,
    moved,
    several,
    together,
    write,
)


def test_a_registry_that_is_away_is_no_fault_of_the_key() -> None:
    def away(_key: str) -> str:
        raise RegistryUnavailableError("the registry does not answer")

    def fails(_key: str) -> str:
        raise ValueError("no such page")

    for name, error in ((away, RegistryUnavailableError), (fails, ProcessingError)):
        spec = Store("visits", str, bytes, partition_key=name).spec(key=serde_of(str))
        with pytest.raises(error):
            keys_of_rows(StoreKind.KEY_VALUE, spec)([b"ann"])


@pytest.mark.slow
def test_a_store_of_process_names_the_keys_that_its_rows_belong_to(tmp_path: Path) -> None:
    before, after = Homes(3, 3), Homes(4, 4)
    text = serde_of(str)
    store = Store("visits", str, bytes, partition_key=lambda key: key.partition("|")[0])
    spec = store.spec(key=text)
    rows: dict[int, list[tuple[bytes, bytes | None]]] = {task: [] for task in range(3)}
    for name in NAMES:
        rows[before.home(name)] += [(name + b"|%d" % page, b"\1" + bytes(8)) for page in range(3)]
    sources = {}
    for task, changes in rows.items():
        sources[task] = write(tmp_path / "a" / f"0_{task}", [], specs=(spec,))
        database = TaskDatabase.open(
            sources[task], (spec,), pool=MemoryPool(1 << 20, 1 << 20), options={}
        )
        database.write({"visits": changes}, {})
        database.close()
    targets = moved(move(before, after, specs=(spec,)), sources, tmp_path / "b")
    for task, path in targets.items():
        for key in contents(path)["store.visits"]:
            assert after.home(key.partition(b"|")[0]) == task
    assert together(targets) == together(sources)

    # Not named: found by the rows themselves, before anything is made of them.
    unnamed = replace(spec, partition_key=None, record_key=None)
    plain = move(before, after, specs=(unnamed,))
    for task, source in sources.items():
        record = split_unit(plain, TaskId(0, task), source, directory=tmp_path / "c")
    [misplaced] = record.misplaced
    assert misplaced.family == "store.visits"
    assert 0 < misplaced.rows < record.rows
    with pytest.raises(OperationRefusedError, match="rows of store visits lie in task 0_0") as no:
        merge_target(plain, TaskId(0, 0), units=tmp_path / "c", database=tmp_path / "d" / "0_0")
    assert "Store(partition_key=...)" in no.value.hint
    assert not (tmp_path / "d" / "0_0").exists()


def test_producers_with_another_partitioner_are_found(tmp_path: Path) -> None:
    sources = fill(tmp_path / "a", Homes(2, 2, "consistent"), several())
    step = move(Homes(2, 2), Homes(3, 3))
    for task, source in sources.items():
        split_unit(step, TaskId(0, task), source, directory=tmp_path / "units")
    with pytest.raises(OperationRefusedError, match="belong to others by their keys") as refusal:
        merge_target(step, TaskId(0, 0), units=tmp_path / "units", database=tmp_path / "0_0")
    assert "than murmur2" in refusal.value.hint


def test_a_damaged_block_is_told_with_the_family_and_the_directory(tmp_path: Path) -> None:
    homes = Homes(1, 1)
    rows = [Entry("plain", b"%06d" % number, 1, bytes(300)) for number in range(5_000)]
    source = write(tmp_path / "0_0", rows)
    largest = max(source.glob("*.sst"), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)
    step = move(homes, Homes(2, 2))
    with pytest.raises(TaskCorruptedError, match=r"scanning store\.plain in .*0_0 failed"):
        split_unit(step, TaskId(0, 0), source, directory=tmp_path / "units")
    assert load_unit(tmp_path / "units", TaskId(0, 0)) is None
    with pytest.raises(TaskCorruptedError, match=r"scanning store\.plain"):
        verify(step, {0: source}, {}, notes=tmp_path / "n")


def test_a_part_with_other_bytes_is_refused(tmp_path: Path) -> None:
    sources = fill(tmp_path / "a", Homes(1, 1), several())
    step = move(Homes(1, 1), Homes(2, 2))
    record = split_unit(step, TaskId(0, 0), sources[0], directory=tmp_path / "units")
    name = next(part.files[0].name for part in record.parts if part.target == 1)
    path = tmp_path / "units" / "0_0" / name
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    with pytest.raises(TaskCorruptedError, match="other bytes than were written"):
        merge_target(step, TaskId(0, 1), units=tmp_path / "units", database=tmp_path / "b" / "0_1")
    assert not (tmp_path / "b" / "0_1").exists()
    path.unlink()
    with pytest.raises(TaskCorruptedError, match="is not as unit 0_0"):
        split_unit(step, TaskId(0, 0), sources[0], directory=tmp_path / "units")


def test_nothing_of_others_is_taken_or_removed(tmp_path: Path) -> None:
    sources = fill(tmp_path / "a", Homes(2, 2), several())
    step, other = move(Homes(2, 2), Homes(3, 3)), move(Homes(2, 2), Homes(3, 3), "op-2")
    units = tmp_path / "units"
    foreign = units / "0_1.part" / "notes"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    with pytest.raises(OperationRefusedError, match="not of operation op-1 but nobody's"):
        split_unit(step, TaskId(0, 1), sources[1], directory=units)
    assert foreign.read_text() == "mine"
    split_unit(step, TaskId(0, 0), sources[0], directory=units)
    with pytest.raises(OperationRefusedError, match="is not unit 0_0 of operation op-2"):
        split_unit(other, TaskId(0, 0), sources[0], directory=units)
    with pytest.raises(OperationRefusedError, match="was split from what had no name, not from s2"):
        split_unit(step, TaskId(0, 0), sources[0], directory=units, origin="s2")
    with pytest.raises(OperationRefusedError, match="too long for a record"):
        split_unit(step, TaskId(0, 1), sources[1], directory=tmp_path / "v", origin="s" * 301)
    with pytest.raises(OperationRefusedError, match="1 of 2 units are missing: 0_1"):
        merge_target(step, TaskId(0, 0), units=units, database=tmp_path / "0_0")
    with pytest.raises(OperationRefusedError, match="task 0_2 is none of the 2"):
        split_unit(step, TaskId(0, 2), sources[0], directory=units)


def test_a_database_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    sources = fill(tmp_path / "a", Homes(1, 1), several())
    step = move(Homes(1, 1), Homes(1, 1))
    split_unit(step, TaskId(0, 0), sources[0], directory=tmp_path / "units")
    with pytest.raises(StateDirectoryError, match="op-1 has not made it"):
        merge_target(step, TaskId(0, 0), units=tmp_path / "units", database=sources[0])
    assert contents(sources[0])
    assert metadata(sources[0])
