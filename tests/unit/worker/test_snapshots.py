"""Snapshots of tasks that go on processing, over real databases and a repository in a directory."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer import failpoints, metrics
from streamer.changelog.format import Positions
from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.messages import ChoreReport
from streamer.control.orders import Order, RebuildOrder, SnapshotOrder
from streamer.ids import TaskId, TopicPartition
from streamer.restore.bootstraps import KafkaSurroundings
from streamer.restore.rehearsal import rehearse
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.claims import lease
from streamer.snapshot.create import About, create
from streamer.snapshot.manifest import Manifest, Position
from streamer.snapshot.opening import open_repository
from streamer.snapshot.pace import Pace
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.verified import note_verified, verified
from streamer.store.directory import WorkerDirectory
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store
from streamer.worker.agenda import Want
from streamer.worker.making import Maker
from streamer.worker.snapshots import Snapshots

HOUR_MS = 3_600_000
TOTALS = Store("totals", str, int).spec()
Rows = dict[bytes, bytes | None]


class Task:
    """A task that runs: what the snapshots need of an `ActiveTask`."""

    def __init__(self, host: Host, number: int, *, stores: bool = True) -> None:
        self.task = TaskId(0, number)
        self.changelogs = {"totals": TopicPartition("app-totals-changelog", number)}
        self.changelogs = self.changelogs if stores else {}
        self.committed = {TopicPartition("in", number): 0}
        self.refresh_positions = False
        self.commits = 0
        self.database = TaskDatabase.open(
            host.directory.task(self.task),
            [TOTALS] if stores else [],
            pool=host.pool,
            options={"disable_auto_compactions": True},
        )

    def commit(self, rows: Rows | None = None, *, records: int = 0) -> None:
        """Rows and positions in one batch, as a commit does."""
        self.commits += 1
        place = next(iter(self.committed))
        self.committed[place] += records
        stored = Positions(
            changelogs={store: 10 * self.commits for store in self.changelogs},
            inputs=self.committed,
            topic_ids=dict.fromkeys(self.changelogs, "topic-id"),
        )
        changes = {"totals": list((rows or {}).items())} if self.changelogs else {}
        self.database.write(changes, stored.encode())
        self.refresh_positions = False


class Host:
    """A worker's directory, its tasks, and a repository beside it."""

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        self.place = tmp_path / "repository"
        self.config = Config(
            application_id="app",
            snapshot_repository=f"file://{self.place}",
            snapshot_patience_ms=0,
            **settings,
        )
        self.clock = ManualClock(1_700_000_000_000)
        self.directory = WorkerDirectory.open(tmp_path / "state", "app", worker_id="w1")
        self.pool = MemoryPool(16 << 20, 16 << 20)
        self.running: list[Task] = []
        self.orders: tuple[Order, ...] = ()
        self.news: list[dict[str, str]] = []
        self.snapshots = self.begin()

    def begin(self) -> Snapshots:
        """As a process that starts does."""
        tasks: Any = self
        self.snapshots = Snapshots(
            self.config, tasks, lambda: self.orders, directory=self.directory, clock=self.clock
        )
        self.snapshots.start()
        return self.snapshots

    def task(self, number: int, *, stores: bool = True) -> Task:
        made = Task(self, number, stores=stores)
        self.running.append(made)
        return made

    def order(self, operation: str = "op", *tasks: str) -> None:
        self.orders = (SnapshotOrder(format=1, operation=operation, tasks=tasks),)

    def turn(self) -> None:
        """One turn of the loop: what asks for a commit gets one."""
        for each in self.running:
            if each.refresh_positions:
                each.commit()
        self.clock.advance(25)
        if self.snapshots.turn():
            chores = self.snapshots.chores
            self.news.append({str(task): chore.state for task, chore in chores.items()})

    def until(self, is_true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not is_true():
            assert time.monotonic() < deadline, (self.news, self.snapshots.chores)
            self.turn()
            time.sleep(0.001)

    def chore(self, task: TaskId) -> ChoreReport | None:
        return self.snapshots.chores.get(task)

    def is_done(self, *tasks: Task) -> bool:
        found = [self.chore(each.task) for each in tasks]
        return all(chore is not None and chore.state == "done" for chore in found)

    def shelf(self, task: TaskId) -> Shelf:
        return open_repository(self.config).shelf("app", task)

    def manifests(self, task: Task) -> list[Manifest]:
        return self.shelf(task.task).manifests()

    def close(self) -> None:
        self.snapshots.close()
        for each in self.running:
            each.database.close()
            metrics.forget_task(each.task)
        self.directory.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


def rows(count: int, seed: int = 0, size: int = 100) -> Rows:
    numbers = random.Random(seed)
    return {f"key-{number:08d}".encode(): numbers.randbytes(size) for number in range(count)}


def counted(name: str, task: Task) -> float:
    return metrics.REGISTRY.get_sample_value(name, {"task": str(task.task)}) or 0.0


def test_an_order_is_fulfilled_with_the_state_of_the_last_commit(
    host: Host, tmp_path: Path
) -> None:
    one = host.task(1)
    one.commit(rows(500), records=700)
    host.order()
    host.until(lambda: host.is_done(one))
    [manifest] = host.manifests(one)
    chore = host.chore(one.task)
    assert chore is not None
    assert chore.made == manifest.id
    assert (manifest.made_for, manifest.created_by, manifest.task) == ("op", "w1", "0_1")
    assert manifest.stores == {"totals": "key-value"}
    [changelog] = manifest.changelog
    # It was committed once more for the snapshot, so that its own positions are exact.
    assert (changelog.topic, changelog.position) == ("app-totals-changelog", 20)
    assert changelog.topic_id == "topic-id"
    assert [(each.topic, each.position) for each in manifest.input] == [("in", 700)]
    assert verified(host.shelf(one.task)) == {manifest.stem: "files"}
    assert list(host.directory.checkpoints.iterdir()) == []
    assert [news["0_1"] for news in host.news] == ["working", "done"]
    with open_repository(host.config) as place:
        found = rehearse(
            place, place.shelf("app", one.task), manifest.stem, directory=tmp_path / "look"
        )
    assert found.rows == {"totals": 500}


def test_processing_goes_on_between_the_checkpoint_and_the_end(host: Host, tmp_path: Path) -> None:
    one = host.task(1)
    one.commit(rows(500), records=500)
    host.order()

    def meanwhile() -> None:
        # The other thread stands at its upload; this one has committed more by then.
        host.running[0].commit(rows(900, seed=1), records=400)

    with failpoints.armed("snapshot.after_pending", meanwhile):
        host.until(lambda: host.is_done(one))
    [manifest] = host.manifests(one)
    assert manifest.input[0].position == 500
    with open_repository(host.config) as place:
        found = rehearse(
            place, place.shelf("app", one.task), manifest.stem, directory=tmp_path / "look"
        )
    assert found.rows == {"totals": 500}


def test_tasks_are_taken_one_by_one_and_one_without_stores_has_nothing(host: Host) -> None:
    pair = [host.task(1), host.task(2)]
    stateless = host.task(3, stores=False)
    for each in pair:
        each.commit(rows(50))
    host.order()
    host.until(lambda: host.is_done(*pair, stateless))
    working = [[t for t, state in news.items() if state == "working"] for news in host.news]
    assert max(len(each) for each in working) == 1
    chore = host.chore(stateless.task)
    assert chore is not None
    assert (chore.made, chore.why) == ("", "it has no stores")
    assert host.shelf(stateless.task).entries() == []


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


def test_what_fails_is_told_with_why_and_tried_again_until_it_is_mended(host: Host) -> None:
    one = host.task(1)
    one.commit(rows(50))
    host.place.write_text("a file where a directory should be")
    before = counted("streamer_snapshot_failures_total", one)
    host.order()

    def has_failed() -> bool:
        chore = host.chore(one.task)
        return chore is not None and chore.state == "failed"

    host.until(has_failed)
    chore = host.chore(one.task)
    assert chore is not None
    assert str(host.place) in chore.why
    assert counted("streamer_snapshot_failures_total", one) == before + 1
    assert not host.directory.checkpoints.exists() or not any(host.directory.checkpoints.iterdir())
    one.commit(rows(60, seed=2))
    host.place.unlink()
    host.until(lambda: host.is_done(one))
    assert len(host.manifests(one)) == 1


def test_an_order_that_is_taken_back_ends_the_upload(host: Host) -> None:
    one = host.task(1)
    one.commit(rows(2_000))
    host.order()
    reached = threading.Event()

    def taken_back() -> None:
        host.orders = ()
        reached.set()
        job = host.snapshots._job
        deadline = time.monotonic() + 10
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


def test_the_schedule_makes_one_in_each_interval_and_removes_old_ones(tmp_path: Path) -> None:
    host = Host(tmp_path, snapshot_interval_ms=HOUR_MS, snapshot_keep_last=2)
    try:
        one = host.task(1)
        one.commit(rows(50))
        for count in range(1, 5):
            host.until(
                lambda wanted=count: (
                    host.snapshots._job is None and counted_ids(host, one) >= wanted
                )
            )
            for _ in range(50):
                host.turn()
            assert counted_ids(host, one) == count
            one.commit(rows(50, seed=count))
            host.clock.advance(HOUR_MS)
        left = host.manifests(one)
        assert [manifest.sequence for manifest in left] == [3, 4]
        assert sorted(verified(host.shelf(one.task))) == [manifest.stem for manifest in left]
        assert all(manifest.made_for == "" for manifest in left)
    finally:
        host.close()


def test_the_schedule_leaves_what_trims_rest_on(tmp_path: Path) -> None:
    host = Host(tmp_path, snapshot_interval_ms=HOUR_MS, snapshot_keep_last=1)
    try:
        one = host.task(1)
        for count in range(1, 5):
            one.commit(rows(50, seed=count))
            host.until(
                lambda wanted=count: (
                    host.snapshots._job is None
                    and host.manifests(one)
                    and host.manifests(one)[-1].sequence >= wanted
                )
            )
            if count == 1:
                note_verified(host.shelf(one.task), host.manifests(one)[0].stem, "contents")
            host.clock.advance(HOUR_MS)
        assert [manifest.sequence for manifest in host.manifests(one)] == [1, 4]
    finally:
        host.close()


def counted_ids(host: Host, task: Task) -> int:
    """How many were ever made."""
    return max((entry.sequence for entry in host.shelf(task.task).entries()), default=0)


def test_a_restart_does_not_begin_the_schedule_anew(tmp_path: Path) -> None:
    host = Host(tmp_path, snapshot_interval_ms=HOUR_MS)
    try:
        one = host.task(1)
        one.commit(rows(50))
        host.until(lambda: counted_ids(host, one) == 1 and host.snapshots._job is None)
        host.snapshots.close()
        host.begin()
        for _ in range(100):
            host.turn()
            time.sleep(0.002)
        assert counted_ids(host, one) == 1
        age_s = metrics.REGISTRY.get_sample_value("streamer_snapshot_age_seconds", {"task": "0_1"})
        assert age_s is not None
        assert age_s < 3_600
    finally:
        host.close()


def test_a_second_snapshot_sends_what_has_changed_and_no_more(host: Host) -> None:
    one = host.task(1)
    one.commit(rows(100_000))
    one.database.flush()
    host.order("first")
    host.until(lambda: host.is_done(one))
    first = host.manifests(one)[-1]
    sent = counted("streamer_snapshot_sent_bytes_total", one)
    everything = rows(100_000)
    numbers = random.Random(7)
    changed: Rows = {
        key: numbers.randbytes(100) for key in numbers.sample(sorted(everything), 1_000)
    }
    one.commit(changed, records=1_000)
    host.order("second")
    host.until(lambda: len(host.manifests(one)) == 2 and host.is_done(one))
    again = counted("streamer_snapshot_sent_bytes_total", one) - sent
    assert first.size > 8_000_000
    assert again <= 0.05 * first.size, (again, first.size)
    # Hashes of files that never change are remembered beside the task's directory.
    known = json.loads(host.directory.digests(one.task).read_text())
    assert len(known) >= 2


def test_the_first_hash_keeps_the_limit_and_ends_when_nobody_wants_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = host.task(1)
    one.commit(rows(20_000))
    one.database.flush()
    passed: list[int] = []
    is_asked = threading.Event()

    def take(_pace: Pace, count: int) -> None:
        passed.append(count)
        if is_asked.is_set():
            return
        is_asked.set()
        host.orders = ()
        job = host.snapshots._job
        deadline = time.monotonic() + 10
        while job is not None and not job.is_dropped and time.monotonic() < deadline:
            time.sleep(0.001)

    monkeypatch.setattr(Pace, "take", take)
    host.order("first")
    host.until(lambda: passed and host.snapshots._job is None)
    assert host.shelf(one.task).entries() == []
    assert len(passed) == 1, "it has stopped at the first chunk"

    passed.clear()
    host.order("second")
    host.until(lambda: host.is_done(one))
    [made] = host.manifests(one)
    assert made.size > 2_000_000
    assert sum(passed) >= 2 * made.size, "hashed, and sent"


def test_all_that_a_worker_sends_and_fetches_keeps_one_limit(host: Host, tmp_path: Path) -> None:
    pace = Pace(1_000)
    maker = Maker(host.config, pace)
    around = KafkaSurroundings(
        host.config, lambda _task, _path: Positions(), delete_retention_ms=1, pace=pace
    )
    task, export = TaskId(0, 1), f"file://{tmp_path}/export"
    found = [maker._shelf(Want(task, repository=each))[0] for each in ("", export)]
    found += [around.shelf(each, task)[0] for each in ("", export)]
    assert [each.transfers.pace is pace for each in found] == [True] * 4
    maker.close()
    around.close()


def test_a_worker_without_a_repository_says_so(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.config = Config(application_id="app")
    host.snapshots.close()
    host.begin()
    try:
        one = host.task(1)
        one.commit(rows(10))
        host.order()

        def said() -> bool:
            chore = host.chore(one.task)
            return chore is not None and "snapshot_repository is not set" in chore.why

        host.until(said)
    finally:
        host.close()


def test_what_one_pulls_is_made_while_an_order_for_all_stands_and_then_waits_for_nobody(
    host: Host, tmp_path: Path
) -> None:
    task = host.task(1)
    task.commit(rows(10))
    every = SnapshotOrder(format=1, operation="all")
    export = SnapshotOrder(
        format=1, operation="pull", tasks=("0_1",), repository=f"file://{tmp_path}/export"
    )
    fetched = RebuildOrder(format=1, operation="pull", task="0_1", worker="w2", source="active")

    def is_done(operation: str) -> bool:
        chore = host.chore(task.task)
        return chore is not None and (chore.operation, chore.state) == (operation, "done")

    host.orders = (every, export)
    host.until(lambda: is_done("pull"))
    # It stands until the copy is warm, which may take hours.
    host.orders = (every, export, fetched)
    host.until(lambda: is_done("all"))
    assert [each.made_for for each in host.manifests(task)] == ["all"]


def test_of_what_was_left_to_be_pulled_the_newest_stays_and_what_is_read(tmp_path: Path) -> None:
    export = tmp_path / "export"
    host = Host(tmp_path, snapshot_export_dir=export)
    address, elsewhere = f"file://{export}", f"file://{tmp_path}/elsewhere"
    try:
        task = host.task(1)

        def make(operation: str, repository: str) -> None:
            task.commit(rows(10, seed=len(operation)))
            host.orders = (
                SnapshotOrder(format=1, operation=operation, tasks=("0_1",), repository=repository),
            )
            done = (operation, "done")
            host.until(
                lambda: (
                    (chore := host.chore(task.task)) is not None
                    and (chore.operation, chore.state) == done
                )
            )

        def left(repository: str) -> list[str]:
            with open_repository(host.config, repository) as place:
                return [each.made_for for each in place.shelf("app", task.task).manifests()]

        for operation in ("a", "bb", "ccc"):
            make(operation, address)
            make(operation + "-kept", elsewhere)
        assert left(address) == ["ccc"]
        assert left(elsewhere) == ["a-kept", "bb-kept", "ccc-kept"], "somebody looks after it"
        with open_repository(host.config, address) as place:
            shelf = place.shelf("app", task.task)
            with lease(shelf, shelf.manifests()[-1].stem):
                make("dddd", address)
                assert left(address) == ["ccc", "dddd"]
        make("eeeee", address)
        assert left(address) == ["eeeee"]
    finally:
        host.close()
