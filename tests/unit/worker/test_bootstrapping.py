"""When the main thread looks for a snapshot, cuts a restore short, exchanges, and gives up."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.errors import RepositoryUnavailableError, SnapshotMissingError, TaskCorruptedError
from streamer.restore.bootstrap import Phase
from streamer.restore.choice import Choice, Way
from streamer.restore.note import Note, write_note
from streamer.snapshot.adopt import staging_of
from streamer.worker import bootstrapping as module
from tests.unit.worker.bootstrapped import OTHER, OUTDATED, TASK, TRIMMED, Worker


def test_a_short_restore_looks_for_nothing(worker: Worker) -> None:
    worker.open(TASK, 1_000_000)
    assert worker.begun == []


def test_it_waits_until_the_restore_tells_how_much_there_is(worker: Worker) -> None:
    worker.open(TASK, -1)
    assert worker.begun == []
    worker.left[TASK] = 1_000_001
    worker.glue.turn()
    assert [one.wanted.local_offsets for one in worker.begun] == [1_000_001]
    worker.glue.turn()
    assert len(worker.begun) == 1


def test_the_restore_goes_on_until_something_is_fetched(worker: Worker) -> None:
    worker.open(TASK, 10**7)
    worker.glue.turn()
    assert worker.cancelled == []
    one = worker.fetching()
    assert worker.cancelled == [TASK]
    assert worker.glue.is_paused(TASK)
    worker.end(one)
    assert worker.reopened == [TASK]
    assert (worker.target(TASK) / "CURRENT").read_text() == "new"
    assert not worker.glue.is_paused(TASK)
    # What is left is read, however much it is.
    worker.glue.turn()
    assert len(worker.begun) == 1


def test_the_restore_rests_while_a_snapshot_is_looked_for(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.open(TASK, 10**7)
    worker.open(OTHER, 10)
    assert worker.held == {TASK}
    worker.begun[0].phase = Phase.WAITING
    worker.glue.turn()
    assert worker.held == frozenset(), "it is not its turn yet"
    worker.begun[0].phase = Phase.LOOKING
    worker.glue.turn()
    assert worker.held == {TASK}
    monkeypatch.setattr(module, "HOLD_S", 0.0)
    worker.glue.turn()
    assert worker.held == frozenset(), "the repository does not answer"


def test_it_goes_on_where_there_is_none(worker: Worker) -> None:
    worker.open(TASK, 10**7)
    worker.end(worker.begun[0], error=SnapshotMissingError("there is none"))
    assert worker.held == frozenset()


def test_one_that_is_nearly_there_is_not_cut_short(worker: Worker) -> None:
    worker.open(TASK, 10**7)
    worker.left[TASK] = 10
    one = worker.fetching()
    assert worker.cancelled == []
    assert one.is_cancelled


def test_while_it_waits_it_hears_how_much_is_left(worker: Worker) -> None:
    worker.open(TASK, 10**7)
    one = worker.begun[0]
    one.phase = Phase.WAITING
    worker.left[TASK] = 5 * 10**6
    worker.glue.turn()
    assert one.left_offsets == 5 * 10**6
    worker.left[TASK] = 10
    worker.glue.turn()
    assert one.is_cancelled


def test_what_was_fetched_in_no_time_is_not_taken_where_the_restore_was_faster(
    worker: Worker,
) -> None:
    worker.open(TASK, 10**7)
    worker.left[TASK] = 0
    worker.end(worker.begun[0])
    assert worker.reopened == []


def test_one_that_runs_by_then_is_left_alone(worker: Worker) -> None:
    worker.open(TASK, 10**7)
    worker.restoring.clear()
    worker.end(worker.begun[0])
    assert worker.reopened == []


def test_the_former_directory_goes_when_the_new_one_serves(worker: Worker) -> None:
    worker.open(TASK, 10**7)
    worker.end(worker.fetching())
    worker.glue.turn()
    assert worker.removed == []
    worker.serving.add(TASK)
    worker.glue.turn()
    (former,) = worker.tasks.glob("0_3.old-*")
    assert worker.removed == [former.name]
    worker.glue.turn()
    assert len(worker.removed) == 1


def test_after_a_restart_too(worker: Worker) -> None:
    (worker.tasks / "0_3.old-17").mkdir(parents=True)
    worker.target(TASK).mkdir()
    write_note(worker.target(TASK), Note(former="0_3.old-17"))
    worker.serving.add(TASK)
    worker.open(TASK, 0)
    assert worker.removed == ["0_3.old-17"]


@pytest.mark.parametrize("former", ["0_4.old-17", "../0_3.old-17", "0_3.old-/../../x", ""])
def test_a_note_removes_nothing_but_what_adopt_has_made(worker: Worker, former: str) -> None:
    (worker.tasks / "0_4.old-17").mkdir(parents=True)
    worker.target(TASK).mkdir()
    write_note(worker.target(TASK), Note(former=former))
    worker.serving.add(TASK)
    worker.open(TASK, 0)
    assert worker.removed == []


def test_what_was_fetched_in_vain_goes_when_the_task_serves(worker: Worker) -> None:
    (staging_of(worker.target(TASK)) / "files").mkdir(parents=True)
    worker.open(TASK, 10)
    assert worker.removed == []
    worker.serving.add(TASK)
    worker.glue.turn()
    assert worker.removed == ["0_3.restore"]


def test_where_no_snapshot_is_to_be_had_the_restore_goes_on(worker: Worker) -> None:
    worker.open(TASK, 10**7)
    worker.end(worker.begun[0], error=SnapshotMissingError("there is none"))
    assert worker.reopened == worker.cancelled == []
    worker.open(OTHER, 10**7)
    worker.end(worker.fetching(), error=SnapshotMissingError("it is gone"))
    assert worker.reopened == [OTHER], "it had been cut short"


def test_below_a_trim_only_a_snapshot_helps(worker: Worker) -> None:
    worker.open(TASK, -1)
    assert worker.glue.rescues(TASK, TRIMMED)
    assert worker.glue.is_paused(TASK)
    assert worker.begun[-1].wanted.local_offsets is None
    worker.end(worker.fetching())
    assert worker.reopened == [TASK]
    assert worker.cancelled == [], "its restore had ended"


def test_without_one_it_has_failed_with_both_reasons(worker: Worker) -> None:
    worker.open(TASK, -1)
    assert worker.glue.rescues(TASK, TRIMMED)
    worker.end(worker.begun[-1], error=SnapshotMissingError("there is none"))
    assert str(worker.lost[TASK]) == (
        "it stands at 5, but the changelog begins at 9; and no snapshot brings it back: there is"
        " none"
    )
    assert worker.reopened == worker.whole == []


def test_a_repository_that_is_away_is_asked_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    worker.open(TASK, -1)
    assert worker.glue.rescues(TASK, TRIMMED)
    worker.end(worker.begun[-1], error=RepositoryUnavailableError("no answer"))
    worker.glue.turn()
    assert worker.lost == {}
    assert len(worker.begun) == 2
    assert worker.glue.is_paused(TASK)


def test_it_is_not_rescued_for_ever(worker: Worker) -> None:
    worker.open(TASK, -1)
    for _ in range(module.RESCUES_MAX):
        assert worker.glue.rescues(TASK, TRIMMED)
        worker.end(worker.fetching())
    assert not worker.glue.rescues(TASK, TRIMMED)


@pytest.mark.parametrize("progress", ["serves", "has read on"])
def test_rescues_count_in_a_row_alone(worker: Worker, progress: str) -> None:
    """A copy that lives for months may fall behind a trim more often than that."""
    worker.open(TASK, -1)
    for _ in range(3 * module.RESCUES_MAX):
        assert worker.glue.rescues(TASK, TRIMMED)
        worker.end(worker.fetching())
        if progress == "serves":
            worker.serving.add(TASK)
            worker.glue.turn()
            worker.serving.clear()
        else:
            worker.restored[TASK] = 1
    worker.restored.clear()
    for _ in range(module.RESCUES_MAX - (progress == "has read on")):
        assert worker.glue.rescues(TASK, TRIMMED)
        worker.end(worker.fetching())
    assert not worker.glue.rescues(TASK, TRIMMED)


def test_a_search_that_went_by_a_state_that_cannot_be_continued_begins_anew(
    worker: Worker,
) -> None:
    worker.open(TASK, 10**7)
    assert worker.glue.rescues(TASK, TRIMMED)
    assert worker.begun[0].is_cancelled
    assert worker.begun[1].wanted.local_offsets is None


def test_an_old_state_is_restored_as_a_whole_where_that_is_sooner(worker: Worker) -> None:
    worker.open(TASK, -1)
    assert worker.glue.rescues(TASK, OUTDATED)
    one = worker.begun[-1]
    one.choice = Choice(Way.CHANGELOG, 1.0)
    worker.end(one)
    assert worker.whole == [TASK]
    worker.open(OTHER, -1)
    assert worker.glue.rescues(OTHER, OUTDATED)
    worker.end(worker.begun[-1], error=RepositoryUnavailableError("no answer"))
    assert worker.whole == [TASK, OTHER]


def test_other_errors_and_workers_without_a_repository_are_as_they_were(
    worker: Worker, tmp_path: Path
) -> None:
    assert not worker.glue.rescues(TASK, TaskCorruptedError("a block is damaged"))
    without = Worker(tmp_path, snapshot_repository="")
    assert not without.glue.rescues(TASK, TRIMMED)
    without.open(TASK, 10**9)
    assert without.begun == []
    reluctant = Worker(tmp_path, bootstrap_from="changelog")
    reluctant.open(TASK, 10**9)
    assert reluctant.begun == []
    assert not reluctant.glue.rescues(TASK, OUTDATED)
    assert reluctant.glue.rescues(TASK, TRIMMED)


def test_one_that_is_taken_away_ends(worker: Worker) -> None:
    worker.open(TASK, 10**7)
    one = worker.fetching()
    worker.glue.forget(TASK)
    assert one.is_cancelled
    worker.end(one)
    assert worker.reopened == []
    assert worker.glue.chore(TASK) is None
