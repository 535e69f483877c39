"""A release counts twice for a while. The windows of an interval are computed once more, beside the
live state; those before it and behind it, totals and sessions stay as they are. Meanwhile records
of these windows go on to come, and who reads the input again is killed."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from typing import Any

import pytest

from streamer.config import Config
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from tests.broker.applications.mended import BAD
from tests.broker.applications.spans import SPAN_MS
from tests.broker.folds import Conductor, told
from tests.broker.snapshots import Snapshots
from tests.broker.workers import Application, Worker
from tests.thorough import thorough

pytestmark = pytest.mark.long

KEYS = [f"customer-{number}" for number in range(30)]
EACH = 4
State = dict[tuple[str, int], tuple[int, int]]


class Written:
    """What was produced, and how often each record counts in which store."""

    def __init__(self, made: Application) -> None:
        self._made = made
        self._records: list[tuple[str, int, int, int]] = []
        self.mended = range(0)

    def add(self, *starts: int, times: int = 1) -> None:
        """Some records of each key in each of these windows, for a release that counts so often."""
        for start in starts:
            for number in range(EACH):
                stamp = start + number * 2_000
                amount = len(self._records) % 100
                pairs = [(key, str(amount)) for key in KEYS]
                self._made.kafka.produce(self._made.topic("in"), pairs, timestamp_ms=stamp)
                self._records += [(key, stamp, amount, times) for key in KEYS]

    def spans(self) -> State:
        found: State = defaultdict(lambda: (0, 0))
        for key, stamp, amount, times in self._records:
            start = stamp - stamp % SPAN_MS
            often = 1 if start in self.mended else times
            count, total = found[key, start]
            found[key, start] = (count + often, total + often * amount)
        return dict(found)

    def totals(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for key, _stamp, amount, times in self._records:
            found[key] = (found[key][0] + times, found[key][1] + times * amount)
        return dict(found)

    def visits(self) -> int:
        return len(self._records)


@pytest.fixture
def made(application: Any) -> Application:
    return application("spans", outputs=("totals", "spans"), partitions=4)  # type: ignore[no-any-return]


class Releases:
    """One worker after the other, each with all tasks."""

    def __init__(self, made: Application, **settings: Any) -> None:
        self._made = made
        self._settings = settings
        self._workers: list[Worker] = []

    def next(self, *, bad: bool) -> Worker:
        self.stop()
        self._made.environment = {BAD: "1"} if bad else {}
        worker = self._made.worker("a", **self._settings)
        worker.wait_started(4)
        self._workers.append(worker)
        return worker

    def done(self) -> None:
        self._made.wait_until_done(self._made.topic("in"), watch=self._workers[-1:])

    def stop(self) -> None:
        for worker in self._workers[-1:]:
            assert worker.stop() == 0


def rows(worker: Worker, path: str) -> list[dict[str, Any]]:
    found = worker.get(f"/stores/{path}limit=10000")
    assert found["next"] is None
    assert not found["missing"]
    return list(found["rows"])


def spans(worker: Worker) -> State:
    return {
        (row["key"], row["start_ms"]): (row["value"]["count"], row["value"]["sum"])
        for row in rows(worker, "spans?from=0&to=9999999999999&")
    }


def check(worker: Worker, written: Written) -> None:
    assert spans(worker) == written.spans()
    totals = rows(worker, "totals?prefix=customer&")
    assert {
        row["key"]: (row["value"]["count"], row["value"]["sum"]) for row in totals
    } == written.totals()
    visits = rows(worker, "visits?from=0&to=9999999999999&")
    assert sum(row["value"] for row in visits) == written.visits()


@thorough
def test_nothing_else_is_changed(made: Application, conductor: Conductor, wait_until: Any) -> None:
    repository = f"file://{made.directory / 'snapshots'}"
    named = ("--set", f"snapshot_repository={repository}")
    snapshots = Snapshots(made, snapshot_repository=repository)
    releases = Releases(made, snapshot_repository=repository)
    written = Written(made)
    releases.next(bad=False)
    first = time.time_ns() // 1_000_000 // SPAN_MS * SPAN_MS - SPAN_MS
    written.add(first)
    releases.done()
    snapshots.run("create")
    admin = Admin(Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers))
    begin = {
        TopicPartition(one.topic, one.partition): one.position
        for manifest in snapshots.manifests()
        for one in manifest.input
    }
    admin.delete_before(begin)
    mended = (time.time_ns() // 1_000_000 // SPAN_MS + 1) * SPAN_MS
    behind = mended + SPAN_MS

    releases.next(bad=True)
    written.add(first, mended, behind, times=2)
    releases.done()
    snapshots.run("create")
    worker = releases.next(bad=False)
    written.add(mended, behind, behind + SPAN_MS)
    releases.done()
    check(worker, written)

    since = ("--from", str(mended), "--to", str(behind))
    for given, why in (
        (("--store", "totals"), "an interval of store totals is not well defined"),
        (("--store", "visits"), "an interval of store visits is not well defined"),
        (("--store", "span"), "there is no store span"),
    ):
        code, _out, err = conductor.ends("plan", *since, *given, *named, command="replay")
        assert code == 3, err
        assert why in err
    plan = conductor.plan(*since, *named, command="replay")
    assert plan["windows"] == {"from_ms": mended, "to_ms": behind, "stores": ["spans"]}
    operation = plan["operation"]
    again = conductor.works(operation)
    applied = conductor.starts("apply", operation, *named)
    written.add(mended, behind)
    wait_until(lambda: step(made, operation, "base") == "done", what="its base")
    again.kill()
    conductor.works(operation)
    assert applied.wait(timeout=300) == 0
    code, out, err = conductor.ends("diff", operation, "--json", *named, command="replay")
    assert code == 1, f"{out}\n{err}"
    differing = {one["store"]: one for one in json.loads(out)}
    assert differing["spans"]["changed"] == len(KEYS), out
    for store, kind in (("spans", "added"), ("spans", "gone"), ("totals", "changed")):
        assert not differing[store][kind], out
    assert not differing["visits"]["changed"], out
    written.add(mended, behind + SPAN_MS)
    code, out, err = conductor.ends("switch", operation, *named, command="replay")
    assert code == 0, f"{out}\n{err}"
    assert told(made, operation)["state"] == "done"
    written.add(mended)
    releases.done()
    written.mended = range(mended, behind)
    check(worker, written)
    releases.stop()


def step(made: Application, operation: str, name: str) -> str:
    steps = told(made, operation)["steps"]
    return next(str(one.get("state")) for one in steps if one["id"] == name)
