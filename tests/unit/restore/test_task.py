"""One task's restore, fed by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from streamer import failpoints
from streamer.changelog.format import PASSED, Positions
from streamer.errors import InternalTopicError, StateOutdatedError, TaskCorruptedError
from streamer.failpoints import InjectedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds, Records
from streamer.restore.store import BULK_OFFSETS_MIN, BULK_ROWS_MIN
from streamer.restore.task import RestoreState, TaskRestore, Times
from streamer.store.keys import row
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store, StoreKind

PLACE = TopicPartition("app-plain-changelog", 3)
TASK = TaskId(0, 3)
DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[TaskDatabase]:
    pool = MemoryPool(8 << 20, 8 << 20)
    specs = [Store("plain", str, int).spec()]
    opened = TaskDatabase.open(tmp_path / "0_3", specs, pool=pool, options={})
    yield opened
    opened.close()


def begun(database: TaskDatabase, start: int, end: int, now_ms: int = NOW_MS) -> TaskRestore:
    restore = TaskRestore(TASK, database, {"plain": PLACE})
    bounds = {PLACE: Bounds(start, end)}
    restore.begin(bounds, Times(now_ms, 0, now_ms - 7 * DAY_MS))
    return restore


def records(offsets: Sequence[int], *, value: bytes | None = b"v") -> Records:
    stored = None if value is None else row(1, value)
    keys = [b"k%d" % (offset % 100) for offset in offsets]
    return Records(PLACE, keys, [stored] * len(keys), list(offsets))


def stored(database: TaskDatabase) -> Positions:
    return Positions.decode(database.metadata())


def test_an_empty_state_begins_at_the_first_offset(database: TaskDatabase) -> None:
    restore = TaskRestore(TASK, database, {"plain": PLACE})
    assert restore.progress().remaining_offsets == -1
    bounds = {PLACE: Bounds(0, 10)}
    begin = restore.begin(bounds, Times(NOW_MS, 0, NOW_MS - 1))
    assert begin == {PLACE: 0}
    assert restore.state is RestoreState.READING
    assert restore.progress().remaining_offsets == 10
    assert not restore.is_complete


def test_nothing_is_read_where_the_state_stands_at_the_end(database: TaskDatabase) -> None:
    database.write({}, Positions(changelogs={"plain": 10}).encode())
    restore = TaskRestore(TASK, database, {"plain": PLACE})
    bounds = {PLACE: Bounds(2, 10)}
    assert restore.begin(bounds, Times(NOW_MS, 0, NOW_MS - 1)) == {}
    assert restore.is_complete
    assert restore.progress().remaining_offsets == 0
    assert restore.progress().eta_s == 0


def test_rows_and_position_are_saved_together(database: TaskDatabase) -> None:
    restore = begun(database, 0, 100)
    one = restore.stores[PLACE]
    restore.add(records([0, 1, 2, 5]), 1)
    assert database.get("plain", b"k1") is None
    restore.save(one)
    assert database.get("plain", b"k1") == row(1, b"v")
    assert stored(database).changelogs == {"plain": 6}
    progress = restore.progress()
    assert (progress.restored_records, progress.remaining_offsets) == (4, 94)
    assert progress.restored_bytes == 4 * (2 + 10)


def test_a_removal_removes_and_the_last_record_of_a_key_wins(database: TaskDatabase) -> None:
    restore = begun(database, 0, 400)
    restore.add(records([0, 1]), 1)
    restore.add(records([100], value=b"new"), 2)
    restore.add(records([101], value=None), 3)
    restore.save(restore.stores[PLACE])
    assert list(database.scan("plain", b"", None)) == [(b"k0", row(1, b"new"))]
    restore.add(records([200], value=None), 4)
    restore.save(restore.stores[PLACE])
    assert list(database.scan("plain", b"", None)) == []


def test_rows_of_others_pass_the_stored_input_positions(database: TaskDatabase) -> None:
    """A later restore that finds nothing new must not take them for those of the state."""
    place = TopicPartition("in", 3)
    database.write({}, Positions(changelogs={"plain": 5}, inputs={place: 100}).encode())
    markers = begun(database, 0, 7)
    markers.reach(PLACE, 7, 1)
    markers.complete()
    assert stored(database).inputs == {place: 100}
    more = begun(database, 0, 9)
    more.add(records([7, 8]), 1)
    more.complete()
    assert stored(database).inputs == {place: PASSED}


@pytest.mark.parametrize("failpoint", ["restore.before_batch", "restore.after_batch"])
def test_an_error_around_a_batch_never_leaves_the_position_ahead(
    database: TaskDatabase, failpoint: str
) -> None:
    restore = begun(database, 0, 100)
    restore.add(records([0, 1, 2]), 1)
    with pytest.raises(InjectedError), failpoints.armed(failpoint, "error"):
        restore.save(restore.stores[PLACE])
    position = stored(database).changelogs.get("plain", 0)
    assert position == (0 if failpoint == "restore.before_batch" else 3)
    assert len(list(database.scan("plain", b"", None))) == position


def test_records_before_the_position_are_passed_over(database: TaskDatabase) -> None:
    database.write({"plain": [(b"k5", row(9, b"kept"))]}, Positions({"plain": 6}).encode())
    restore = begun(database, 0, 100)
    restore.add(records([4, 5]), 1)
    restore.add(records([5, 6, 7]), 1)
    restore.save(restore.stores[PLACE])
    assert database.get("plain", b"k5") == row(9, b"kept")
    assert restore.progress().restored_records == 2
    assert stored(database).changelogs == {"plain": 8}


def test_markers_and_aborted_records_count_as_restored(database: TaskDatabase) -> None:
    restore = begun(database, 0, 10)
    restore.add(records([0, 1]), 1)
    restore.reach(PLACE, 9, 2)
    assert restore.progress().remaining_offsets == 1
    restore.reach(PLACE, 10, 3)
    assert restore.is_complete
    restore.complete()
    assert restore.progress().remaining_offsets == 0
    assert stored(database).changelogs == {"plain": 10}
    assert begun(database, 0, 10).is_complete


def test_an_end_reached_without_any_record_is_saved_too(database: TaskDatabase) -> None:
    restore = begun(database, 0, 7)
    restore.reach(PLACE, 7, 1)
    restore.complete()
    assert stored(database).changelogs == {"plain": 7}


def test_a_cancelled_restore_goes_on_where_it_was(database: TaskDatabase) -> None:
    restore = begun(database, 0, 100)
    restore.add(records(range(40)), 1)
    restore.cancel()
    assert restore.state is RestoreState.CANCELLED
    again = begun(database, 0, 100)
    assert again.stores[PLACE].position == 40
    again.add(records(range(40, 100)), 1)
    again.complete()
    assert len(list(database.scan("plain", b"", None))) == 100


def test_many_rows_are_loaded_as_files_and_few_are_written(database: TaskDatabase) -> None:
    end = BULK_OFFSETS_MIN
    restore = begun(database, 0, end)
    one = restore.stores[PLACE]
    assert one.is_bulk
    keys = [b"k%05d" % n for n in range(end)]
    restore.add(Records(PLACE, keys, [row(1, b"v")] * end, list(range(end))), 1)
    assert one.memory_bytes >= one.recount() > end * (6 + 10)
    restore.complete()
    assert len(list(database.scan("plain", b"", None))) == end
    assert database.gauges()["level0_files"] == 0
    assert stored(database).changelogs == {"plain": end}
    assert not begun(database, 0, end + BULK_OFFSETS_MIN - 1).stores[PLACE].is_bulk


def test_a_position_beyond_the_end_is_refused_with_both(database: TaskDatabase) -> None:
    database.write({}, Positions({"plain": 11}).encode())
    with pytest.raises(
        TaskCorruptedError,
        match=r"0_3 stands at position 11 of changelog app-plain-changelog/3, .* ends at 10",
    ) as caught:
        begun(database, 0, 10)
    assert "deleted and made anew" in caught.value.hint
    assert stored(database).changelogs == {"plain": 11}


@pytest.mark.parametrize(("position", "held"), [(4, "stands at position 4"), (0, "is empty")])
def test_a_position_before_the_beginning_is_refused_with_both(
    database: TaskDatabase, position: int, held: str
) -> None:
    if position:
        database.write({}, Positions({"plain": position}).encode())
    with pytest.raises(
        TaskCorruptedError, match=rf"{held}, but changelog .* begins at 5"
    ) as caught:
        begun(database, 5, 10)
    assert "snapshot" in caught.value.hint


def test_a_state_older_than_removals_are_kept_is_refused(database: TaskDatabase) -> None:
    database.write({}, Positions({"plain": 5}, as_of_ms=NOW_MS - 8 * DAY_MS).encode())
    with pytest.raises(StateOutdatedError, match=r"is 1\.0 days too old .* would come back"):
        begun(database, 0, 10)
    # At the end there is nothing that could have been missed.
    assert begun(database, 0, 5).is_complete


def test_an_old_state_is_not_restored_from_a_changelog_that_is_not_whole(
    database: TaskDatabase,
) -> None:
    database.write({}, Positions({"plain": 5}, as_of_ms=NOW_MS - 8 * DAY_MS).encode())
    with pytest.raises(TaskCorruptedError, match="days too old") as caught:
        begun(database, 3, 10)
    assert not isinstance(caught.value, StateOutdatedError)
    assert f"{PLACE} begins at 3" in caught.value.hint
    # Nor from a topic that is another one, or is shorter than it was.
    with pytest.raises(TaskCorruptedError, match="ends at 4") as caught:
        begun(database, 0, 4)
    assert not isinstance(caught.value, StateOutdatedError)


def test_the_age_of_a_state_is_that_of_the_last_time_it_was_complete(
    database: TaskDatabase,
) -> None:
    restore = begun(database, 0, 10)
    restore.add(records(range(5)), 1)
    restore.cancel()
    assert stored(database).as_of_ms == NOW_MS
    later = begun(database, 0, 10, NOW_MS + 3 * DAY_MS)
    later.add(records(range(5, 8)), 1)
    later.cancel()
    assert stored(database).as_of_ms == NOW_MS
    last = begun(database, 0, 10, NOW_MS + 6 * DAY_MS)
    last.add(records(range(8, 10)), 1)
    last.complete()
    assert stored(database).as_of_ms == NOW_MS + 6 * DAY_MS


def test_rows_of_an_unknown_version_are_not_taken_in(database: TaskDatabase) -> None:
    restore = begun(database, 0, 10)
    restore.add(Records(PLACE, [b"a"], [b"\x07abc"], [0]), 1)
    with pytest.raises(TaskCorruptedError, match="rows of form 07"):
        restore.save(restore.stores[PLACE])
    assert stored(database).changelogs == {}


@pytest.mark.parametrize("count", [3, BULK_ROWS_MIN])
@pytest.mark.parametrize("kind", [StoreKind.WINDOW, StoreKind.SESSION])
def test_rows_of_another_kind_of_store_are_not_taken_in(
    database: TaskDatabase, kind: StoreKind, count: int
) -> None:
    restore = begun(database, 0, BULK_OFFSETS_MIN)
    keys = [b"%016d" % number for number in range(count)]
    rows = [row(1, b"v", kind)] * count
    restore.add(Records(PLACE, keys, rows, list(range(count))), 1)
    wanted = f"app-plain-changelog/3 holds rows of a {kind.value} store, .* key-value store"
    with pytest.raises(InternalTopicError, match=wanted) as caught:
        restore.save(restore.stores[PLACE])
    assert "give the new store another name" in caught.value.hint
    assert list(database.scan("plain", b"", None)) == []
    assert stored(database).changelogs == {}


def test_a_topic_with_another_id_is_refused_however_long_it_is(database: TaskDatabase) -> None:
    def begun_with(topic_id: str, end: int = 10) -> TaskRestore:
        restore = TaskRestore(TASK, database, {"plain": PLACE})
        bounds = {PLACE: Bounds(0, end, topic_id)}
        restore.begin(bounds, Times(NOW_MS, 0, NOW_MS - 1))
        return restore

    begun_with("made-and-deleted").complete()
    assert stored(database).topic_ids == {"plain": "made-and-deleted"}
    # Nothing was taken from it, so nothing is lost with it.
    restore = begun_with("first")
    restore.add(records(range(10)), 1)
    restore.save(restore.stores[PLACE])
    assert stored(database).topic_ids == {"plain": "first"}
    for end in (10, 20):
        with pytest.raises(TaskCorruptedError, match="its id was first and is second") as caught:
            begun_with("second", end)
        assert str(PLACE) in caught.value.message
        assert "move the directory away" in caught.value.hint
    assert stored(database).topic_ids == {"plain": "first"}
    # Brokers that give no ids are taken as they are, and the id that is known stays.
    begun_with("").complete()
    assert stored(database).topic_ids == {"plain": "first"}
    begun_with("first").complete()
