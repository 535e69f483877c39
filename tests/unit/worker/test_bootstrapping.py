"""When the main thread looks for a snapshot, cuts a restore short, exchanges, and gives up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer import metrics
from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.orders import FORMAT, RebuildOrder
from streamer.errors import (
    ChangelogTrimmedError,
    RepositoryUnavailableError,
    SnapshotMissingError,
    StateOutdatedError,
    StreamerError,
    TaskCorruptedError,
)
from streamer.ids import TaskId
from streamer.restore.bootstrap import Bootstrap, Phase, Wanted
from streamer.restore.choice import Choice, Way
from streamer.restore.note import Note, read_note, write_note
from streamer.restore.progress import RestoreProgress
from streamer.snapshot.adopt import staging_of
from streamer.snapshot.fetch import Fetched
from streamer.snapshot.transfer import Progress
from streamer.worker import bootstrapping as module
from streamer.worker.bootstrapping import Bootstrapping
from tests.unit.restore.test_usable import manifest

TASK, OTHER = TaskId(0, 3), TaskId(0, 4)
TRIMMED = ChangelogTrimmedError("it stands at 5, but the changelog begins at 9")
OUTDATED = StateOutdatedError("it is 9.0 days too old")


class Worker:
    """Roles, restorer and pool, as the main thread sees them."""

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        given = {
            "snapshot_repository": "file:///snapshots",
            "snapshot_export_address": "ssh://{host}/x",
            "worker_id": "me",
            **settings,
        }
        self.config = Config(application_id="app", **given)
        self.tasks = tmp_path / "tasks"
        self.left: dict[TaskId, int] = {}
        self.restored: dict[TaskId, int] = {}
        self.restoring = {TASK, OTHER}
        self.active: set[TaskId] = set()
        self.serving: set[TaskId] = set()
        self.cancelled: list[TaskId] = []
        self.reopened: list[TaskId] = []
        self.whole: list[TaskId] = []
        self.lost: dict[TaskId, StreamerError] = {}
        self.removed: list[str] = []
        self.begun: list[Bootstrap] = []
        self.over: list[Bootstrap] = []
        self.clock = ManualClock(1_000)
        around: Any = self
        self.glue = Bootstrapping(
            around, self._wants, restorer=around, config=self.config, pool=around
        )

    # -- roles

    def is_open_for_restore(self, task: TaskId) -> bool:
        return task in self.restoring

    def is_active(self, task: TaskId) -> bool:
        return task in self.active

    def is_serving(self, task: TaskId) -> bool:
        return task in self.serving

    def reopen(self, task: TaskId, exchange: Callable[[], None]) -> None:
        self.glue.forget(task)
        self.restored.pop(task, None)
        exchange()
        self.reopened.append(task)
        self.glue.opened(task, self.target(task))

    def restore_whole(self, task: TaskId, _error: StreamerError) -> None:
        self.whole.append(task)

    def give_up(self, task: TaskId, error: StreamerError) -> None:
        self.lost[task] = error

    # -- the restorer

    def progress(self, task: TaskId) -> RestoreProgress:
        return RestoreProgress(
            restored_records=self.restored.get(task, 0),
            remaining_offsets=self.left.get(task, -1),
        )

    # -- the pool, and what is around a bootstrap

    def begin(self, wanted: Wanted) -> Bootstrap:
        around: Any = self
        self.begun.append(Bootstrap(wanted, around, Phase.LOOKING))
        return self.begun[-1]

    def cancel(self, one: Any) -> None:
        if isinstance(one, Bootstrap):
            one.cancel()
        else:
            self.cancelled.append(one)

    def ended(self) -> list[Bootstrap]:
        found, self.over = self.over, []
        return [one for one in found if not one.is_cancelled]

    def is_busy(self, _task: TaskId) -> bool:
        return False

    def remove(self, path: Path) -> None:
        self.removed.append(path.name)

    # -- the test's own

    def target(self, task: TaskId) -> Path:
        return self.tasks / str(task)

    def _wants(self, task: TaskId, local_offsets: int | None) -> Wanted:
        return Wanted(
            task=task,
            target=self.target(task),
            changelogs={},
            kinds={},
            local_offsets=local_offsets,
        )

    def open(self, task: TaskId, left: int) -> None:
        self.target(task).mkdir(parents=True, exist_ok=True)
        self.glue.opened(task, self.target(task))
        self.left[task] = left
        self.glue.turn()

    def fetching(self) -> Bootstrap:
        one = self.begun[-1]
        one.phase = Phase.FETCHING
        one.progress = Progress(2, 100, 1, 40, 40)
        self.glue.turn()
        return one

    def end(self, one: Bootstrap, *, error: StreamerError | None = None) -> None:
        if error is not None:
            one.error, one.phase = error, Phase.FAILED
        elif one.choice is not None:
            one.phase = Phase.CHOSEN
        else:
            files = staging_of(one.wanted.target) / "files"
            files.mkdir(parents=True)
            (files / "CURRENT").write_text("new")
            one.fetched = Fetched(manifest(), files, 60, 40)
            one.phase = Phase.READY
        self.over.append(one)
        self.glue.turn()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    yield Worker(tmp_path)
    for task in (TASK, OTHER):
        metrics.forget_task(task)


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
        time.sleep(0.002)  # former directories have names by the millisecond
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
        time.sleep(0.002)
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


# -- orders ----------------------------------------------------------------------------------------


def order(number: str = "one", *, worker: str = "me", at_ms: int = 1, **more: str) -> RebuildOrder:
    return RebuildOrder(
        format=FORMAT, operation=number, task="0_3", worker=worker, at_ms=at_ms, **more
    )


def test_a_rebuild_lets_the_old_copy_go_on(worker: Worker) -> None:
    worker.open(TASK, 0)
    worker.glue.hear((order(source="active", repository="ssh://b/x"), order(worker="you")))
    worker.glue.turn()
    (one,) = worker.begun
    assert (one.wanted.source, one.wanted.repository) == ("active", "ssh://b/x")
    assert one.wanted.local_offsets is None
    worker.fetching()
    assert worker.cancelled == []
    assert not worker.glue.is_paused(TASK)
    chore = worker.glue.chore(TASK)
    assert chore is not None
    assert (chore.operation, chore.state, chore.bytes_done) == ("one", "working", 40)
    worker.end(one)
    assert worker.reopened == [TASK]
    note = read_note(worker.target(TASK))
    assert note is not None
    assert note.operation == "one"
    chore = worker.glue.chore(TASK)
    assert chore is not None
    assert (chore.operation, chore.state, chore.made) == ("one", "done", manifest().stem)


def test_it_happens_once_also_across_a_restart(worker: Worker, tmp_path: Path) -> None:
    worker.open(TASK, 0)
    worker.glue.hear((order(),))
    worker.glue.turn()
    worker.end(worker.begun[0])
    worker.glue.turn()
    assert len(worker.begun) == 1
    again = Worker(tmp_path)
    again.restoring.clear()
    again.glue.hear((order(),))
    again.glue.turn()
    again.restoring.add(TASK)
    again.open(TASK, 0)
    assert again.begun == []
    again.glue.hear((order("two"),))
    again.glue.turn()
    assert len(again.begun) == 1


def test_from_the_changelogs_an_empty_directory_takes_its_place(worker: Worker) -> None:
    worker.open(TASK, 0)
    (worker.target(TASK) / "CURRENT").write_text("old")
    worker.glue.hear((order(source="changelog"),))
    worker.glue.turn()
    one = worker.begun[0]
    one.choice = Choice(Way.CHANGELOG, 1.0)
    worker.end(one)
    assert not (worker.target(TASK) / "CURRENT").exists()
    (former,) = worker.tasks.glob("0_3.old-*")
    assert (former / "CURRENT").read_text() == "old"


def test_a_task_that_is_processed_here_is_refused(worker: Worker) -> None:
    worker.active.add(TASK)
    worker.glue.hear((order(),))
    worker.glue.turn()
    chore = worker.glue.chore(TASK)
    assert chore is not None
    assert chore.state == "failed"
    assert "is processed by this worker" in chore.why
    assert worker.begun == []


@pytest.mark.parametrize("repository", ["ssh://b/y", "ssh://b/x/y", "file:///etc", "ssh://u@b/x"])
def test_a_record_does_not_send_a_worker_anywhere(worker: Worker, repository: str) -> None:
    worker.open(TASK, 0)
    worker.glue.hear((order(source="active", repository=repository),))
    worker.glue.turn()
    assert worker.begun == []
    chore = worker.glue.chore(TASK)
    assert chore is not None
    assert chore.state == "failed"
    assert "is neither snapshot_repository nor a host's snapshot_export_address" in chore.why


def test_a_promotion_ends_a_rebuild_and_nothing_else(worker: Worker) -> None:
    worker.open(TASK, 0)
    worker.glue.hear((order(),))
    worker.glue.turn()
    worker.glue.promoted(TASK)
    assert worker.begun[0].is_cancelled
    chore = worker.glue.chore(TASK)
    assert chore is not None
    assert chore.state == "failed"
    worker.open(OTHER, 10**7)
    one = worker.fetching()
    worker.glue.promoted(OTHER)
    assert not one.is_cancelled
    assert worker.glue.is_paused(OTHER)


def test_an_order_that_is_taken_back_ends_it(worker: Worker) -> None:
    worker.open(TASK, 0)
    worker.glue.hear((order(),))
    worker.glue.turn()
    worker.glue.hear(())
    worker.glue.turn()
    assert worker.begun[0].is_cancelled
    assert worker.glue.chore(TASK) is None


def test_a_rebuild_is_not_cut_by_asking_again_and_its_failure_is_told(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    worker.open(TASK, -1)
    assert worker.glue.rescues(TASK, TRIMMED)
    worker.glue.hear((order(source="active", repository="ssh://b/x"),))
    worker.end(worker.begun[-1], error=RepositoryUnavailableError("no answer"))
    worker.glue.turn()
    rebuild = worker.begun[-1]
    assert rebuild.wanted.operation == "one"
    time.sleep(0.02)
    worker.fetching()
    assert worker.begun[-1] is rebuild
    worker.end(rebuild, error=RepositoryUnavailableError("the key is refused"))
    for _ in range(3):
        # The repository is asked again by now, and nobody asked for that.
        chore = worker.glue.chore(TASK)
        assert chore is not None
        assert (chore.operation, chore.state) == ("one", "failed")
        worker.glue.turn()
        time.sleep(0.01)


def test_one_that_has_failed_is_tried_again_when_it_is_given_again(worker: Worker) -> None:
    worker.open(TASK, 0)
    worker.glue.hear((order(),))
    worker.glue.turn()
    worker.end(worker.begun[0], error=SnapshotMissingError("there is none"))
    worker.glue.turn()
    assert len(worker.begun) == 1
    assert worker.reopened == []
    chore = worker.glue.chore(TASK)
    assert chore is not None
    assert (chore.state, chore.why) == ("failed", "there is none")
    worker.glue.hear((order(at_ms=2),))
    worker.glue.turn()
    assert len(worker.begun) == 2
