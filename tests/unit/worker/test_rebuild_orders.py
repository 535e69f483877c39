"""What the main thread makes of orders to build a copy anew."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streamer.errors import RepositoryUnavailableError, SnapshotMissingError
from streamer.restore.choice import Choice, Way
from streamer.restore.note import read_note
from streamer.worker import bootstrapping as module
from tests.unit.restore.test_usable import manifest
from tests.unit.worker.bootstrapped import OTHER, TASK, TRIMMED, Worker, order


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


@pytest.mark.slow
def test_a_rebuild_is_not_cut_by_asking_again_and_its_failure_is_told(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a turn takes on a busy machine.
    monkeypatch.setattr(module, "RETRY_S", 0.5)
    worker.open(TASK, -1)
    assert worker.glue.rescues(TASK, TRIMMED)
    worker.glue.hear((order(source="active", repository="ssh://b/x"),))
    worker.end(worker.begun[-1], error=RepositoryUnavailableError("no answer"))
    worker.glue.turn()
    rebuild = worker.begun[-1]
    assert rebuild.wanted.operation == "one"
    time.sleep(0.6)
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
