"""Any number of tasks to any other: each row at its home, once, and none lost."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rocksdict import AccessType, Options, Rdict

from streamer.ids import TaskId
from streamer.layout import KnownPartitioner
from streamer.split.homes import Homes
from streamer.split.merge import load_merge, merge_target
from streamer.split.move import Move
from streamer.split.survey import Place, sums, survey
from streamer.split.totals import Totals
from streamer.split.unit import load_unit, split_unit
from streamer.split.verify import verify
from streamer.store.keys import index_key
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.declared import Declared
from tests.hurry import examples
from tests.unit.split.rig import (
    NAMES,
    PLAIN,
    SESSIONS,
    SPECS,
    TTL,
    Entry,
    contents,
    files,
    fill,
    merged,
    move,
    moved,
    several,
    together,
    write,
)


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
    known: list[KnownPartitioner | Declared] = ["murmur2", "consistent", declared]
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_row_past_its_time_and_a_stale_index_entry_are_kept(tmp_path: Path) -> None:
    """What expires is for the new task to decide: dropping it here would look like a loss."""
    homes = Homes(1, 1)
    directory = tmp_path / "0_0"
    write(directory, [Entry("ttl", b"a", 1_000), Entry("ttl", b"b", 2_000)])
    write(directory, [Entry("ttl", b"a", 900_000, b"later")])
    assert len(contents(directory)["index.ttl"]) == 3
    targets = moved(move(homes, Homes(2, 2)), {0: directory}, tmp_path / "b")
    assert together(targets) == contents(directory)


@pytest.mark.slow
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
