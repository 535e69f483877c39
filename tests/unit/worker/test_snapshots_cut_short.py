"""A process that begins again, an order that is taken back, a task that goes or is overtaken."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from streamer import failpoints
from streamer.restore.checking import check_snapshot
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.choosing import Chosen
from streamer.snapshot.create import About, create
from streamer.snapshot.manifest import Manifest, Position
from streamer.snapshot.opening import open_repository
from streamer.snapshot.verified import verified
from streamer.snapshot.verify import verify
from streamer.store.rocks import TaskDatabase
from tests.unit.worker.snapshotting import TOTALS, Host, counted, rows


def test_a_process_that_begins_again_finds_what_was_made_and_removes_what_was_not(
    host: Host,
) -> None:
    one = host.task(1)
    one.commit(rows(50))
    host.order()
    host.until(lambda: host.is_done(one))
    host.snapshots.close()
    left = host.directory.checkpoints / "0_1-7"
    left.mkdir()
    (left / "CURRENT").write_text("x")
    host.begin()
    assert not left.exists()
    host.until(lambda: host.is_done(one))
    assert len(host.manifests(one)) == 1
    # Another order is another snapshot.
    host.order("second")
    host.until(lambda: host.is_done(one) and len(host.manifests(one)) == 2)


def test_one_that_was_not_noted_before_the_death_is_noted_after_it(host: Host) -> None:
    one = host.task(1)
    one.commit(rows(50))
    host.order()
    host.until(lambda: host.is_done(one))
    [manifest] = host.manifests(one)
    shelf = host.shelf(one.task)
    shelf.backend.delete(f"{shelf.root}verified/{manifest.stem}/files")
    host.snapshots.close()
    host.begin()
    host.until(lambda: host.is_done(one))
    assert verified(shelf) == {manifest.stem: "files"}


def test_one_that_was_found_damaged_is_none_and_is_not_noted_again(host: Host) -> None:
    one = host.task(1)
    one.commit(rows(50))
    one.database.flush()
    host.order()
    host.until(lambda: host.is_done(one))
    [first] = host.manifests(one)
    shelf = host.shelf(one.task)
    name = next(file.object for file in first.files if file.name.endswith(".sst"))
    path = host.place / shelf.object_key(name)
    path.write_bytes(bytes(path.stat().st_size))
    with open_repository(host.config) as place:
        found = check_snapshot(place, Chosen(shelf, first.stem), "contents")
    assert not found.is_whole
    host.snapshots.close()
    host.begin()
    host.until(lambda: host.is_done(one))
    second = host.manifests(one)[-1]
    assert verified(shelf) == {second.stem: "files"}, "its names and sizes are as they were"
    with open_repository(host.config) as place:
        assert verify(place, shelf, second.stem).is_whole


def test_an_order_that_is_taken_back_ends_the_upload(host: Host) -> None:
    one = host.task(1)
    one.commit(rows(2_000))
    host.order()
    reached = threading.Event()

    def taken_back() -> None:
        host.orders = ()
        reached.set()
        job = host.snapshots._job
        deadline = time.monotonic() + 120
        while job is not None and not job.is_dropped and time.monotonic() < deadline:
            time.sleep(0.001)

    with failpoints.armed("snapshot.after_pending", taken_back):
        host.until(lambda: reached.is_set() and host.snapshots._job is None)
    assert host.manifests(one) == []
    assert list(host.directory.checkpoints.iterdir()) == []
    assert host.snapshots.chores == {}
    assert counted("streamer_snapshot_failures_total", one) == 0 or host.news[-1] == {}


def test_a_task_that_goes_before_its_checkpoint_is_made_loses_it(host: Host) -> None:
    one = host.task(1)
    one.commit(rows(50))
    host.order()
    host.until(lambda: one.refresh_positions)
    # It is handed over: nothing was committed for the snapshot yet.
    host.running.remove(one)
    host.until(lambda: host.snapshots._job is None)
    assert host.manifests(one) == []
    one.database.close()


def test_a_worker_that_is_replaced_puts_no_older_state_on_top(host: Host) -> None:
    one = host.task(1)
    for _ in range(5):
        one.commit(rows(50))
    host.order()
    host.until(lambda: host.is_done(one))
    # As a worker that stood still since then: its changelog position is behind.
    one.commits = 1
    host.order("second")

    def has_failed() -> bool:
        chore = host.chore(one.task)
        return chore is not None and chore.state == "failed"

    host.until(has_failed)
    chore = host.chore(one.task)
    assert chore is not None
    assert "another worker has the task" in chore.why
    assert len(host.manifests(one)) == 1


@pytest.mark.slow
def test_one_that_was_overtaken_while_it_was_sent_is_condemned(host: Host, tmp_path: Path) -> None:
    one = host.task(1)
    one.commit(rows(50))
    host.order()
    made: list[Manifest] = []

    def overtaken() -> None:
        if made:
            return
        made.append(None)  # type: ignore[arg-type]
        # Another worker has the task by now, and is quicker.
        database = TaskDatabase.open(tmp_path / "b", [TOTALS], pool=host.pool, options={})
        database.checkpoint(tmp_path / "b-checkpoint")
        database.close()
        about = About(
            created_ms=1,
            stores={"totals": "key-value"},
            changelog=(Position("app-totals-changelog", 1, 999, "topic-id"),),
            input=(),
            operation="op",
        )
        with open_repository(host.config) as place:
            source = Checkpoint(tmp_path / "b-checkpoint")
            shelf = place.shelf("app", one.task)
            made[0] = create(place, shelf, source, about=about).manifest

    with failpoints.armed("snapshot.before_commit", overtaken):
        host.until(lambda: host.is_done(one))
    shelf = host.shelf(one.task)
    [late] = [each for each in shelf.manifests() if each.id != made[0].id]
    assert shelf.is_condemned(late.stem)
    assert not shelf.is_condemned(made[0].stem)
    # The order is fulfilled by the newer one, which was looked at; the late one lifts no floor.
    chore = host.chore(one.task)
    assert chore is not None
    assert chore.made == made[0].id
    assert verified(shelf) == {made[0].stem: "files"}
