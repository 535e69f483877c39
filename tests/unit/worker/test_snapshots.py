"""Snapshots that are asked for, of tasks that go on processing."""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path

import pytest

from streamer import failpoints
from streamer.config import Config
from streamer.control.orders import RebuildOrder, SnapshotOrder
from streamer.restore.rehearsal import rehearse
from streamer.snapshot.claims import lease
from streamer.snapshot.opening import open_repository
from streamer.snapshot.verified import verified
from streamer.store.rocks import TaskDatabase
from streamer.worker.making import Maker
from tests.unit.worker.snapshotting import Host, Rows, counted, rows


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


@pytest.mark.parametrize("commits", [2, 100])
def test_a_checkpoint_finds_nothing_in_memory_unless_commits_never_end(
    host: Host, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    one = host.task(1)
    one.commit(rows(500))
    flush, left = Maker.flush, iter(range(commits))
    found: list[int] = []

    def flushed(self: Maker, database: TaskDatabase, directory: Path) -> None:
        flush(self, database, directory)
        for _ in islice(left, 1):
            one.commit(rows(10, seed=1))

    monkeypatch.setattr(Maker, "flush", flushed)
    with failpoints.armed(
        "checkpoint.before_make", lambda: found.append(one.database.memtable_rows())
    ):
        host.order()
        host.until(lambda: host.is_done(one))
    assert len(found) == 1
    assert (found[0] > 0) is (commits == 100)


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
