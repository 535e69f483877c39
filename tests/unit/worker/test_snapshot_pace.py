"""How much a worker reads and sends for snapshots: one limit for all of it."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import pytest

from streamer.changelog.format import Positions
from streamer.clock import ManualClock
from streamer.control.orders import SnapshotOrder
from streamer.errors import StoppedError
from streamer.ids import TaskId
from streamer.restore.bootstraps import KafkaSurroundings
from streamer.snapshot.apart import Job, Take, _heard
from streamer.snapshot.apart_process import make
from streamer.snapshot.create import Created
from streamer.snapshot.pace import Pace
from streamer.snapshot.transfer import Progress, Report
from streamer.worker.agenda import Want
from streamer.worker.making import Maker
from tests.unit.worker.snapshotting import Host, rows


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
        deadline = time.monotonic() + 240
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


def test_one_that_is_not_wanted_any_more_ends_while_it_waits_to_go_on() -> None:
    clock = ManualClock(0)
    slept: list[float] = []
    answers: list[object] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(round(seconds * 1000))

    class Line:
        """A process that asks whether it may send a chunk."""

        def poll(self, _seconds: float) -> bool:
            return True

        def recv(self) -> object:
            return Take(1_000_000)

        def send(self, what: object) -> None:
            answers.append(what)

    def report(_progress: Progress) -> None:
        if clock.now_ms() > 3_000:
            raise StoppedError("it is not wanted")

    pace = Pace(1_000, clock=clock, sleep=sleep)
    with pytest.raises(StoppedError):
        _heard(Line(), pace, report)
    assert answers == []
    assert sum(slept) < 3.5, "a chunk of this pace takes a quarter of an hour"
    # What has not moved costs the others nothing.
    slept.clear()
    pace.take(1_000)
    assert sum(slept) <= 1.0


def test_what_another_host_waits_for_is_made_without_a_rest(tmp_path: Path) -> None:
    export = tmp_path / "export"
    host = Host(tmp_path, snapshot_cpu_percent=7, snapshot_export_dir=export)
    percents: list[int] = []

    def noted(job: Job, pace: Pace, report: Report) -> Created:
        percents.append(job.cpu_percent)
        return make(job, pace, report)

    try:
        host.snapshots.close()
        host.make = noted
        host.begin()
        one = host.task(1)
        one.commit(rows(10))

        def is_done(operation: str) -> bool:
            return host.is_done(one) and host.snapshots.chores[one.task].operation == operation

        for operation, address in (("own", ""), ("pull", f"file://{export}")):
            host.orders = (SnapshotOrder(format=1, operation=operation, repository=address),)
            host.until(partial(is_done, operation))
        assert percents == [7, 100]
    finally:
        host.close()


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
