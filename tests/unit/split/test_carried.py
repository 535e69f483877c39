"""What a new task knows of its parents: nothing is passed on twice, nothing never."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from streamer import App, SessionWindows, TumblingWindows
from streamer.changelog.format import Positions
from streamer.engine.sessions import closed_sessions
from streamer.engine.windowed import closed_windows
from streamer.errors import OperationRefusedError, StateDirectoryError
from streamer.ids import Layout, TaskId, TopicPartition
from streamer.split.carried import NONE_LEFT, Parent, carry, passed_rows
from streamer.split.homes import Homes
from streamer.split.merge import load_merge
from streamer.split.move import Move, closed_before
from streamer.split.unit import split_unit
from streamer.store.closing import Closing
from streamer.store.keys import window_key
from streamer.topology.stores import StoreKind
from tests.unit.split.rig import (
    PLAIN,
    SESSIONS,
    SPECS,
    Entry,
    fill,
    merged,
    metadata,
    move,
    moved,
    write,
)

KINDS = {"plain": StoreKind.KEY_VALUE, "windows": StoreKind.WINDOW}
# Windows of 10 s without grace: [0, 10 s) has closed at 10 s.
LAGS = {"windows": 9_999}


def parent(task: int, time_ms: int, *, filled: bool = True, **more: object) -> Parent:
    positions = Positions(
        changelogs={"plain": 77, "windows": 78},
        inputs={TopicPartition("purchases", task): 500},
        stream_time_ms=time_ms + 5,
        as_of_ms=1_000 + task,
        topic_ids={"plain": "id"},
        times={"windows": time_ms},
    )
    passed = more.pop("passed", NONE_LEFT)
    assert isinstance(passed, bytes)
    return Parent(
        task=task,
        positions=replace(positions, **more),  # type: ignore[arg-type]
        filled={"plain", "windows"} if filled else set(),
        passed={"windows": passed} if filled else {},
    )


def test_times_are_the_latest_and_the_age_is_the_oldest() -> None:
    found = carry([parent(0, 10_000), parent(3, 42_000), parent(5, 7_000)], KINDS, {})
    assert found.positions == Positions(
        changelogs={"plain": 0, "windows": 0},
        stream_time_ms=42_005,
        as_of_ms=1_000,
        times={"windows": 42_000},
    )
    assert not found.passed


def test_a_parent_without_rows_counts_for_time_and_not_for_age() -> None:
    """Its windows of these keys have closed, and expired; it is no part of the state."""
    empty = parent(0, 90_000, filled=False, as_of_ms=3)
    found = carry([empty, parent(1, 10_000)], KINDS, {}).positions
    assert (found.times, found.as_of_ms) == ({"windows": 90_000}, 1_001)
    assert carry([empty], KINDS, {}).positions.as_of_ms == 3


def test_a_state_of_unknown_age_makes_the_whole_one_of_unknown_age() -> None:
    found = carry([parent(0, 1), parent(1, 1, as_of_ms=-1)], KINDS, {})
    assert found.positions.as_of_ms == -1
    assert "as_of" not in found.encode(Homes(2, 2))


def test_a_store_whose_time_was_not_kept_has_the_tasks() -> None:
    """As a restart finds it (`worker/positions.py`)."""
    old = parent(0, 50_000, times={})
    assert carry([old], KINDS, {}).positions.times == {"windows": 50_005}
    empty = parent(0, 50_000, times={}, filled=False)
    assert carry([empty], KINDS, {}).positions.times == {"windows": -1}


def test_what_closed_everywhere_and_was_passed_on_leaves_nothing() -> None:
    for passed in (NONE_LEFT, window_key(40_000, b"open")):
        found = carry([parent(0, 42_000, passed=passed), parent(1, 42_000)], KINDS, LAGS)
        assert found.positions.closings == {"windows": None}
        assert not found.passed


def test_what_closes_by_the_time_of_another_parent_is_still_passed_on() -> None:
    """Without the place it would be taken for passed on, and never come."""
    behind = window_key(20_000, b"k")
    found = carry([parent(0, 42_000), parent(1, 21_000, passed=behind)], KINDS, LAGS)
    assert found.positions.closings == {"windows": Closing(20_000, 0)}
    # And without this, rows of task 0 that lie above it would come twice.
    # Not beyond what has closed: what task 0 will have there is not passed on yet.
    closed = (32_001).to_bytes(8, "big")
    assert found.passed == {"windows": {0: closed, 1: behind}}
    encoded = found.encode(Homes(2, 6, "consistent"))
    assert encoded["passed_homes"] == b"\1" + b"2 6 consistent"
    assert encoded["passed/windows/1"] == b"\1" + behind
    assert Positions.decode(encoded).closings == {"windows": Closing(20_000, 0)}
    assert passed_rows(encoded, KINDS, found.positions.closings).keys() == {"windows"}
    assert not passed_rows(encoded, {"plain": StoreKind.KEY_VALUE}, found.positions.closings)


# -- from databases ----------------------------------------------------------------------------


def test_the_place_of_a_parent_is_the_first_row_that_it_left(tmp_path: Path) -> None:
    """Two rows of the window of 10 s were passed on, the others not."""
    homes = Homes(1, 1)
    entries = [
        Entry("windows", name, start_ms=start)
        for start in (0, 10_000)
        for name in (b"a", b"b", b"c")
    ]
    at = Closing(10_000, 2)
    stored = Positions(stream_time_ms=30_000, times={"windows": 30_000}, closings={"windows": at})
    source = write(tmp_path / "0_0", entries, positions=stored)
    record = split_unit(
        move(homes, homes, closing_lags=LAGS), TaskId(0, 0), source, directory=tmp_path / "u"
    )
    assert bytes.fromhex(record.passed["windows"]) == window_key(10_000, b"c")

    over = Positions(closings={"windows": Closing(10_000, 3)})
    write(tmp_path / "0_0", [], positions=over)
    record = split_unit(
        move(homes, homes, closing_lags=LAGS), TaskId(0, 0), source, directory=tmp_path / "v"
    )
    assert bytes.fromhex(record.passed["windows"]) == NONE_LEFT


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["windows", "sessions"])
def test_final_results_come_once_from_merged_tasks(tmp_path: Path, kind: str) -> None:
    """Task 1 lags behind: what it has open is closed by the merge, and what task 0 has passed on
    lies between."""
    before, after = Homes(2, 2), Homes(1, 1)
    specs = {spec.name: spec for spec in SPECS}
    lag = 9_999 if kind == "windows" else 10_000
    times = {0: 60_000, 1: 21_000}
    names = [b"%d" % number for number in range(40)]
    entries = [
        Entry(kind, name, start + 9_000, start_ms=start)
        for name in names
        for start in (0, 10_000, 20_000, 50_000 if before.home(name) == 0 else 20_500)
    ]
    sources = {
        task: write(
            tmp_path / f"0_{task}",
            [one for one in entries if before.home(one.key) == task],
            positions=Positions(
                stream_time_ms=time, as_of_ms=9, times={kind: time}, closings={kind: None}
            ),
        )
        for task, time in times.items()
    }
    step = move(before, after, closing_lags={kind: lag})
    targets = moved(step, sources, tmp_path / "b")
    carried = Positions.decode(metadata(targets[0]))
    was_passed = passed_rows(metadata(targets[0]), {kind: specs[kind].kind}, carried.closings)[kind]
    place = carried.closings[kind]
    assert place is not None

    def order(entry: Entry) -> tuple[int, bytes]:
        time = entry.start_ms if kind == "windows" else entry.time_ms
        head = time.to_bytes(8, "big")
        return time, entry.stored_key if kind == "windows" else head + entry.stored_key

    now = closed_before(carried.times[kind], lag)
    comes = {
        one.stored_key
        for one in entries
        if place.time_ms <= order(one)[0] < now and not was_passed(order(one)[1])
    }
    came = {
        one.stored_key
        for one in entries
        if order(one)[0] < closed_before(times[before.home(one.key)], lag)
    }
    closed = {one.stored_key for one in entries if order(one)[0] < now}
    assert came | comes == closed
    assert not came & comes
    assert comes

    # Until all of it has come, the state is not split again.
    again = move(after, before, "op-2", layout=2, closing_lags={kind: lag})
    with pytest.raises(OperationRefusedError, match="final results to pass on since it was split"):
        split_unit(again, TaskId(0, 0), targets[0], directory=tmp_path / "c")
    write(targets[0], [], positions=Positions(closings={kind: None}))
    assert not passed_rows(
        metadata(targets[0]), {}, Positions.decode(metadata(targets[0])).closings
    )
    split_unit(again, TaskId(0, 0), targets[0], directory=tmp_path / "c")


@pytest.mark.slow
def test_a_merge_says_how_far_apart_its_parents_are(tmp_path: Path) -> None:
    """Records of a parent that lags will be late in the new task."""
    homes = Homes(2, 2)
    entries = [Entry("windows", b"%d" % number) for number in range(20)]
    stored = Positions(
        stream_time_ms=100, times={"windows": 90}, inputs={TopicPartition("t", 1): 7}
    )
    sources = fill(tmp_path / "a", homes, entries, positions=stored)
    write(sources[1], [], positions=Positions(stream_time_ms=500, times={"windows": 480}))
    step = move(homes, Homes(1, 1), changelog_position=1)
    targets = moved(step, sources, tmp_path / "b")
    record = load_merge(targets[0])
    assert record is not None
    assert record.times == {
        "0_0": {"": 100, "windows": 90},
        "0_1": {"": 500, "windows": 480},
    }
    found = Positions.decode(metadata(targets[0]))
    assert (found.stream_time_ms, found.times["windows"]) == (500, 480)
    assert found.changelogs == {"plain": 1, "sessions": 1, "ttl": 1, "windows": 1}
    assert not found.inputs
    assert not found.topic_ids


@pytest.mark.slow
def test_only_tasks_that_may_have_had_its_keys_are_parents(tmp_path: Path) -> None:
    before, after = Homes(2, 2), Homes(4, 4)
    sources = {
        task: write(tmp_path / f"0_{task}", [], positions=Positions(stream_time_ms=time))
        for task, time in ((0, 100), (1, 900))
    }
    step = move(before, after)
    targets = moved(step, sources, tmp_path / "b")
    found = {
        task: Positions.decode(metadata(path)).stream_time_ms for task, path in targets.items()
    }
    assert found == {0: 100, 1: 900, 2: 100, 3: 900}


def test_metadata_without_a_rule_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "0_0", [], positions=_Unknown())
    step = move(Homes(1, 1), Homes(2, 2))
    with pytest.raises(StateDirectoryError, match="has metadata watermark, which no rule"):
        split_unit(step, TaskId(0, 0), source, directory=tmp_path / "u")


class _Unknown(Positions):
    def encode(self) -> dict[str, bytes]:
        return {"watermark": b"\1"}


def test_final_results_that_no_topology_passes_on_are_refused(tmp_path: Path) -> None:
    """A store that once had some, all passed on, is as any other."""
    step = move(Homes(1, 1), Homes(2, 2))
    for left in (None, Closing(10, 1)):
        stored = Positions(closings={"windows": left})
        source = write(tmp_path / "0_0", [Entry("windows", b"a")], positions=stored)
        if left is None:
            split_unit(step, TaskId(0, 0), source, directory=tmp_path / "u")
            continue
        with pytest.raises(OperationRefusedError, match=r"windows .* has final results to pass on"):
            split_unit(step, TaskId(0, 0), source, directory=tmp_path / "v")


def test_stores_of_two_kinds_under_one_name_are_refused(tmp_path: Path) -> None:
    sessions = replace(SESSIONS, name="plain")
    homes = Homes(2, 2)
    names = [b"%d" % number for number in range(20)]
    write(
        tmp_path / "0_0",
        [Entry("plain", name) for name in names if homes.home(name) == 0],
        specs=(PLAIN,),
    )
    write(tmp_path / "0_1", [], specs=(sessions,))
    step = move(homes, Homes(1, 1), specs=(PLAIN,))
    units = tmp_path / "b" / "units"
    for task in (0, 1):
        split_unit(step, TaskId(0, task), tmp_path / f"0_{task}", directory=units)
    # One without rows is as its changelog will be.
    merged(step, 0, tmp_path / "b")
    record = load_merge(tmp_path / "b" / "databases" / "0_0")
    assert record is not None
    assert record.stores == {"plain": "key-value"}


def test_lags_are_those_by_which_the_engine_closes() -> None:
    app = App("spend")
    stream = app.stream("purchases", key=str, value=int).group_by_key()
    grace = timedelta(seconds=3)
    windows = TumblingWindows(timedelta(seconds=10), grace=grace)
    sessions = SessionWindows(timedelta(seconds=20), grace=grace)
    stream.windowed_by(windows).count(store="windows", emit="final")
    stream.windowed_by(sessions).count(store="sessions", emit="final")
    stream.windowed_by(windows).count(store="others")
    step = Move.of(
        app.topology(),
        0,
        operation="op-1",
        source_layout=Layout(1),
        source=Homes(2, 2),
        target_layout=Layout(2),
        target=Homes(3, 3),
    )
    assert [spec.name for spec in step.specs] == ["windows", "sessions", "others"]
    lags = step.closing_lags
    assert lags.keys() == {"windows", "sessions"}
    for now in (0, 9_999, 12_999, 13_000, 23_000, 23_001, 10**9):
        assert closed_before(now, lags["windows"]) == closed_windows(now, windows)
        assert closed_before(now, lags["sessions"]) == closed_sessions(now, sessions)
