"""A verification finds what is not as it was, names it, and goes on where it was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer import failpoints
from streamer.errors import OperationRefusedError
from streamer.failpoints import InjectedError
from streamer.ids import TaskId
from streamer.split.homes import Homes
from streamer.split.merge import load_merge
from streamer.split.move import Move
from streamer.split.survey import of_unit, sums, survey, surveyed
from streamer.split.unit import load_unit
from streamer.split.verify import Difference, verify
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from tests.unit.split.rig import SPECS, Entry, contents, fill, move, moved

BEFORE, AFTER = Homes(2, 2), Homes(3, 3)
ENTRIES = [
    Entry(store, b"key-%03d" % number, number * 100, b"%d" % number, start_ms=number // 10 * 10)
    for number in range(150)
    for store in ("plain", "windows", "sessions")
]


class Made:
    """A state of two tasks, moved to three."""

    def __init__(self, root: Path) -> None:
        self.step: Move = move(BEFORE, AFTER)
        self.sources = fill(root / "a", BEFORE, ENTRIES)
        self.work = root / "b"
        self.targets = moved(self.step, self.sources, self.work)
        self.notes = root / "notes"

    def change(self, task: int, store: str, *changes: tuple[bytes, bytes | None]) -> None:
        database = TaskDatabase.open(
            self.targets[task], SPECS, pool=MemoryPool(1 << 20, 1 << 20), options={}
        )
        try:
            database.write({store: changes}, {})
        finally:
            database.close()

    def of(self, task: int) -> Entry:
        """A row that belongs to the task."""
        return next(one for one in ENTRIES if AFTER.home(one.key) == task)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


@pytest.mark.slow
def test_parts_databases_and_parents_have_one_fingerprint(made: Made) -> None:
    verdict = verify(made.step, made.sources, made.targets, notes=made.notes)
    assert verdict.is_equal
    assert verdict.rows == len(ENTRIES) + sum(one.store == "sessions" for one in ENTRIES)
    merges = [load_merge(path) for path in made.targets.values()]
    assert sum(one.rows for one in merges if one is not None) == verdict.rows
    found = sums(
        survey(made.step, "target", TaskId(0, task), database=path)
        for task, path in made.targets.items()
    )
    for task in (0, 1):
        unit = load_unit(made.work / "units", TaskId(0, task))
        assert unit is not None
        surveyed_there = survey(made.step, "source", TaskId(0, task), database=made.sources[task])
        assert sums([of_unit(unit)]) == sums([surveyed_there])
        for part in unit.parts:
            assert found.pop((part.family, task, part.target)) == part.totals
    assert not found


@pytest.mark.slow
def test_what_was_split_is_not_read_once_more(made: Made) -> None:
    rows: list[int] = []
    units, notes = made.work / "units", made.notes
    key = made.of(0)
    made.change(0, key.store, (key.stored_key, None))
    verdict = verify(
        made.step, made.sources, made.targets, notes=notes, units=units, on_rows=rows.append
    )
    assert sum(rows) == verdict.rows
    assert [str(one) for one in verdict.differences] == [
        f"missing: store.{key.store} {key.stored_key.hex()} (task 0)"
    ]


@pytest.mark.slow
def test_each_kind_of_difference_is_named_with_its_key(made: Made) -> None:
    missing = ENTRIES[0]
    changed = next(one for one in ENTRIES[30:] if one.store == "windows")
    stray = made.of(2)
    made.change(AFTER.home(missing.key), missing.store, (missing.stored_key, None))
    made.change(AFTER.home(changed.key), changed.store, (changed.stored_key, b"other"))
    made.change(AFTER.home(b"new"), "plain", (b"new", b"row"))
    made.change(0, stray.store, (stray.stored_key, stray.row))
    verdict = verify(made.step, made.sources, made.targets, notes=made.notes)
    assert not verdict.is_equal
    assert verdict.strangers == 1
    named = set(verdict.differences)
    wrong = Difference("wrong home", f"store.{stray.store}", stray.stored_key, 0)
    assert named == {
        Difference("missing", "store.plain", missing.stored_key, AFTER.home(missing.key)),
        Difference("different", "store.windows", changed.stored_key, AFTER.home(changed.key)),
        Difference("extra", "store.plain", b"new", AFTER.home(b"new")),
        wrong,
        # Its row is there twice.
        Difference("extra", f"store.{stray.store}", stray.stored_key, 2),
    }
    assert str(wrong) == f"wrong home: store.{stray.store} {stray.stored_key.hex()} (task 0)"


@pytest.mark.slow
def test_a_row_in_the_wrong_task_alone_is_found(made: Made) -> None:
    """The sums of both layouts are the same then."""
    one = made.of(1)
    made.change(1, one.store, (one.stored_key, None))
    made.change(0, one.store, (one.stored_key, one.row))
    verdict = verify(made.step, made.sources, made.targets, notes=made.notes)
    assert not verdict.unequal
    assert verdict.strangers == 1
    assert not verdict.is_equal
    assert verdict.differences == (
        Difference("wrong home", f"store.{one.store}", one.stored_key, 0),
    )


@pytest.mark.slow
def test_the_first_hundred_differences_are_named(made: Made) -> None:
    for task, path in made.targets.items():
        made.change(task, "plain", *((key, None) for key in contents(path)["store.plain"]))
    verdict = verify(made.step, made.sources, made.targets, notes=made.notes)
    assert len(verdict.differences) == 100
    assert {one.kind for one in verdict.differences} == {"missing"}


@pytest.mark.slow
def test_indexes_are_left_out_where_they_may_differ(made: Made) -> None:
    database = TaskDatabase.open(
        made.targets[0], SPECS, pool=MemoryPool(1 << 20, 1 << 20), options={}
    )
    index = [key for key, _none in database.scan("sessions", b"", None, index=True)]
    database.delete_index("sessions", index[:1])
    database.close()
    notes = made.notes
    assert verify(made.step, made.sources, made.targets, notes=notes, indexes=False).is_equal
    verdict = verify(made.step, made.sources, made.targets, notes=notes)
    assert [one.kind for one in verdict.differences] == ["missing"]


@pytest.mark.slow
def test_a_verification_that_was_cut_off_reads_only_what_is_left(made: Made) -> None:
    done: list[int] = []
    with (
        failpoints.armed("survey.before_note", "error@4"),
        pytest.raises(InjectedError),
    ):
        verify(made.step, made.sources, made.targets, notes=made.notes, on_rows=done.append)
    first = sum(done)
    done.clear()
    verdict = verify(made.step, made.sources, made.targets, notes=made.notes, on_rows=done.append)
    assert verdict.is_equal
    left = [contents(made.targets[task]) for task in (1, 2)]
    assert sum(done) == sum(len(rows) for one in left for rows in one.values())
    assert first > sum(done)


@pytest.mark.slow
def test_a_note_of_another_cut_is_not_used(made: Made) -> None:
    note = made.notes / "one.json"
    surveyed(made.step, "source", TaskId(0, 0), database=made.sources[0], note=note, cut="first")
    with pytest.raises(OperationRefusedError, match="the source 0_0 at first of operation op-1"):
        surveyed(
            made.step, "source", TaskId(0, 0), database=made.sources[0], note=note, cut="second"
        )
