"""Any number of tasks to any other: each row at its home, once, and none lost."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rocksdict import AccessType, Options, Rdict

from streamer.errors import OperationRefusedError, StateDirectoryError, TaskCorruptedError
from streamer.ids import TaskId
from streamer.split.fingerprint import Totals
from streamer.split.homes import Declared, Homes
from streamer.split.merge import load_merge, merge_target
from streamer.split.move import Move
from streamer.split.survey import Place, sums, survey
from streamer.split.unit import load_unit, split_unit
from streamer.split.verify import verify
from streamer.store.keys import index_key
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.partitioner import Partitioner
from streamer.topology.serde import serde_of
from streamer.topology.stores import Store
from tests.hurry import examples
from tests.unit.split.rig import (
    PLAIN,
    SESSIONS,
    SPECS,
    TTL,
    Entry,
    contents,
    files,
    fill,
    merged,
    metadata,
    move,
    moved,
    together,
    write,
)

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


def declared(key: bytes, count: int) -> int:
    return len(key) % count


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    """Rows of few keys in all stores, one for each stored key."""
    key = st.one_of(st.sampled_from([b"hot", b"", b"a", b"aa"]), st.binary(max_size=9))
    times = st.integers(0, 300_000)
    entry = st.builds(
        Entry,
        st.sampled_from([spec.name for spec in SPECS]),
        key,
        times,
        st.binary(max_size=40),
        st.integers(0, 30).map(lambda number: number * 10_000),
    )
    found = draw(st.lists(entry, max_size=40))
    return list({(one.store, one.stored_key): one for one in found}.values())


def fingerprints(step: Move, databases: dict[int, Path]) -> dict[Place, Totals]:
    return sums(
        survey(step, "source", TaskId(0, task), database=path) for task, path in databases.items()
    )


@pytest.mark.slow
@settings(max_examples=examples(8))
@given(st.data())
def test_there_and_back_is_as_if_never_moved(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tmp_path = tmp_path_factory.mktemp("move")
    rows = data.draw(entries())
    known: list[Partitioner | Declared] = ["murmur2", "consistent", declared]
    partitioner = data.draw(st.sampled_from(known))
    before = Homes(data.draw(st.integers(1, 4)), 12, partitioner)
    after = Homes(number := data.draw(st.integers(1, 5)), number, partitioner)
    sources = fill(tmp_path / "a", before, rows, rounds=data.draw(st.integers(1, 2)))

    there = move(before, after, "there")
    targets = moved(there, sources, tmp_path / "b")
    for task, directory in targets.items():
        for one in contents(directory)["store.plain"]:
            assert after.home(one) == task
    assert verify(there, sources, targets, notes=tmp_path / "n").is_equal
    assert together(targets) == together(sources)

    again = move(after, before, "back", layout=2)
    back = moved(again, targets, tmp_path / "c")
    assert fingerprints(there, back) == fingerprints(there, sources)
    assert {task: contents(path) for task, path in back.items()} == {
        task: contents(path) for task, path in sources.items()
    }


def test_windows_of_several_parents_interleave(tmp_path: Path) -> None:
    before, after = Homes(4, 4), Homes(6, 6)
    sources = fill(tmp_path / "a", before, several(), rounds=3)
    step = move(before, after)
    targets = moved(step, sources, tmp_path / "b")
    assert together(targets) == together(sources)
    everything = several()
    for task, path in targets.items():
        database = TaskDatabase.open(path, SPECS, pool=MemoryPool(1 << 20, 1 << 20), options={})
        try:
            assert database.found.new_stores == database.found.unknown_stores == ()
            mine = [one for one in everything if after.home(one.key) == task]
            for one in mine:
                assert database.get(one.store, one.stored_key) == one.row
            for spec in (TTL, SESSIONS):
                indexed = [key for key, _none in database.scan(spec.name, b"", None, index=True)]
                expected = [
                    index_key(spec, one.stored_key, one.row)
                    for one in mine
                    if one.store == spec.name
                ]
                assert indexed == sorted(expected)
            # And it goes on as any other.
            database.write({"plain": [(mine[0].key, b"new")]}, {})
            assert database.get("plain", mine[0].key) == b"new"
        finally:
            database.close()


def test_a_merged_database_has_its_rows_in_one_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that lie over each other would be in level 0, where 36 of them stop all writes."""
    monkeypatch.setattr("streamer.store.tables.TABLE_BYTES_MAX", 1)
    monkeypatch.setattr("streamer.store.reading.BLOCK_ROWS", 40)
    monkeypatch.setattr("streamer.store.reading._ROWS_AT_ONCE", 20)
    before, after = Homes(3, 3), Homes(1, 1)
    rows = [
        Entry("plain", b"key-%04d" % number, 1, random.Random(number).randbytes(400))
        for number in range(4_000)
    ]
    sources = fill(tmp_path / "a", before, rows)
    targets = moved(move(before, after), sources, tmp_path / "b")
    parts = list((tmp_path / "b" / "units").rglob("store.plain-*.sst"))
    assert len(parts) > 40
    families = {name: Options(raw_mode=True) for name in (*contents(targets[0]), "default")}
    database = Rdict(str(targets[0]), Options(raw_mode=True), families, AccessType.read_only(False))
    try:
        levels = {file["level"] for file in database.live_files() if file["num_entries"] > 100}
    finally:
        database.close()
    assert len(levels) == 1
    assert 0 not in levels


def test_parts_stay_as_they_were_written(tmp_path: Path) -> None:
    """Another database may be made of them, and a killed merge begins again."""
    before, after = Homes(3, 3), Homes(2, 2)
    sources = fill(tmp_path / "a", before, several())
    step = move(before, after)
    for task, source in sources.items():
        split_unit(step, TaskId(0, task), source, directory=tmp_path / "units")
    parts = files(tmp_path / "units")
    for place in ("one", "two"):
        merge_target(
            step, TaskId(0, 1), units=tmp_path / "units", database=tmp_path / place / "0_1"
        )
    assert contents(tmp_path / "one" / "0_1") == contents(tmp_path / "two" / "0_1")
    assert files(tmp_path / "units") == parts
    # Only what RocksDB makes is in a database's directory: it is to be a snapshot's.
    assert all(path.is_file() for path in (tmp_path / "one" / "0_1").iterdir())
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "0_1",
        "0_1.lock",
        "0_1.merged.json",
    }


def test_tasks_without_rows_and_without_a_database_are_units_too(tmp_path: Path) -> None:
    before, after = Homes(3, 3), Homes(5, 5)
    rows = [one for one in several() if before.home(one.key) == 1]
    sources = fill(tmp_path / "a", before, rows)
    step = move(before, after)
    units = tmp_path / "b" / "units"
    split_unit(step, TaskId(0, 0), None, directory=units)
    for task in (1, 2):
        split_unit(step, TaskId(0, task), sources[task], directory=units)
    record = load_unit(units, TaskId(0, 0))
    assert record is not None
    assert (record.rows, record.families) == (0, [])
    targets = {task: merged(step, task, tmp_path / "b") for task in range(5)}
    assert together(targets) == together(sources)
    assert verify(step, {1: sources[1]}, targets, notes=tmp_path / "n").is_equal


def test_one_hot_key_makes_empty_tasks(tmp_path: Path) -> None:
    before, after = Homes(2, 2), Homes(4, 4)
    rows = [Entry("windows", b"hot", at, b"x", start_ms=at) for at in range(0, 10_000, 10)]
    sources = fill(tmp_path / "a", before, rows)
    step = move(before, after)
    targets = moved(step, sources, tmp_path / "b")
    counts = {task: len(contents(path)["store.windows"]) for task, path in targets.items()}
    assert counts == {task: 1_000 * (task == after.home(b"hot")) for task in range(4)}
    # Empty or not, a task has all stores, so that nobody takes it for a new one.
    assert {frozenset(contents(path)) for path in targets.values()} == {
        frozenset(contents(sources[0]))
    }


def test_large_values_and_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.store.tables.TABLE_BYTES_MAX", 4_000)
    monkeypatch.setattr("streamer.store.reading.BLOCK_ROWS", 4)
    monkeypatch.setattr("streamer.store.reading._ROWS_AT_ONCE", 2)
    before, after = Homes(2, 2), Homes(3, 3)
    sizes = [0] * 20 + [4_000] * 80 + [3 << 20] * 4
    rows = [
        Entry("plain", b"key-%03d" % number, 1, random.Random(number).randbytes(size))
        for number, size in enumerate(sizes)
    ]
    sources = fill(tmp_path / "a", before, rows)
    step = move(before, after)
    targets = moved(step, sources, tmp_path / "b")
    assert together(targets) == together(sources)
    record = load_unit(tmp_path / "b" / "units", TaskId(0, 0))
    assert record is not None
    assert max(len(part.files) for part in record.parts) > 2


def test_a_row_past_its_time_and_a_stale_index_entry_are_kept(tmp_path: Path) -> None:
    """What expires is for the new task to decide: dropping it here would look like a loss."""
    homes = Homes(1, 1)
    directory = tmp_path / "0_0"
    write(directory, [Entry("ttl", b"a", 1_000), Entry("ttl", b"b", 2_000)])
    write(directory, [Entry("ttl", b"a", 900_000, b"later")])
    assert len(contents(directory)["index.ttl"]) == 3
    targets = moved(move(homes, Homes(2, 2)), {0: directory}, tmp_path / "b")
    assert together(targets) == contents(directory)


def test_a_store_without_a_specification_is_split_by_its_kind(tmp_path: Path) -> None:
    before, after = Homes(2, 2), Homes(3, 3)
    sources = fill(tmp_path / "a", before, several())
    step = move(before, after, specs=(PLAIN,))
    targets = moved(step, sources, tmp_path / "b")
    assert together(targets) == together(sources)
    record = load_merge(targets[0])
    assert record is not None
    assert record.stores == {spec.name: spec.kind.value for spec in SPECS}


def test_half_of_an_index_is_made_anew(tmp_path: Path) -> None:
    """A store that was given a TTL has its index where its task was opened since."""
    homes = Homes(2, 2)
    keys = [Entry("ttl", name, 1_000) for name in NAMES]
    plain = replace(TTL, ttl_ms=None)
    sources = fill(tmp_path / "a", homes, keys, specs=(plain,))
    write(sources[1], [], specs=(TTL,))
    step = move(homes, Homes(1, 1), specs=(TTL,))
    targets = moved(step, sources, tmp_path / "b")
    record = load_merge(targets[0])
    assert record is not None
    assert record.rebuilt == ["index.ttl"]
    assert verify(step, sources, targets, notes=tmp_path / "n").is_equal
    write(targets[0], [], specs=(TTL,))
    assert len(contents(targets[0])["index.ttl"]) == len(NAMES)


# -- partition keys ----------------------------------------------------------------------------


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


# -- refusals ----------------------------------------------------------------------------------


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
