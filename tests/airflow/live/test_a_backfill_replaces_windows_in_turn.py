"""A backfill of `replay`, as its dialog makes it: the windows of two intervals are computed
once more, one run after the other; those behind them stay as they are."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from demo.airflow import ApiError, LocalAirflow, Run, Runs
from demo.airflow.connection import body, store
from streamer.config import Config
from tests.airflow.live.conftest import SETTINGS
from tests.broker.applications.mended import BAD
from tests.broker.applications.spans import SPAN_MS
from tests.broker.conftest import Kafka, wait_until
from tests.broker.snapshots import Snapshots
from tests.broker.workers import ROOT, Application
from tests.thorough import thorough

pytestmark = [pytest.mark.broker, pytest.mark.long, pytest.mark.timeout(2_400), thorough]

MINUTE_MS = 60_000
CODE = "again_for_the_backfill"
RUN_S = 900.0


@pytest.fixture
def made(kafka: Kafka, tmp_path: Path) -> Iterator[Application]:
    one = Application(
        kafka,
        f"backfilled-{uuid.uuid4().hex[:8]}",
        "spans",
        tmp_path,
        snapshot_repository=f"file://{tmp_path / 'snapshots'}",
    )
    kafka.create(*(one.topic(name) for name in ("in", "totals", "spans")), partitions=2)
    yield one
    one.close()


@pytest.fixture
def airflow(made: Application, tmp_path: Path) -> Iterator[LocalAirflow]:
    ours = ("STREAMER_", "AIRFLOW")
    base = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    given = SETTINGS | {"streamer.replay_interval": "* * * * *"}
    with LocalAirflow(settings=given, base=base) as running:
        running.wait_for_dags({"replay"})
        # Where tasks of this Airflow are begun.
        (running.home / f"{CODE}.py").write_text(
            f"import os, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"os.environ['STREAMER_TEST_APPLICATION'] = {made.name!r}\n"
            "from tests.broker.applications.spans import app\n"
        )
        config = Config(
            application_id=made.name,
            bootstrap_servers=made.kafka.bootstrap_servers,
            snapshot_repository=str(made.settings["snapshot_repository"]),
        )
        store(running.api(), body(config))
        Runs(running.api()).unpause("replay")
        yield running


def counts(worker: Any) -> dict[int, int]:
    """How often records of the one key were counted, by the window's start."""
    found = worker.get("/stores/spans?from=0&to=9999999999999&limit=10000")
    assert not found["missing"]
    return {row["start_ms"]: row["value"]["count"] for row in found["rows"]}


def iso(time_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms / 1000))


def test_each_interval_is_replaced_by_its_run(made: Application, airflow: LocalAirflow) -> None:
    first = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS - 10 * MINUTE_MS
    starts = [first + at for at in range(0, 3 * MINUTE_MS, 2 * SPAN_MS)]
    made.environment = {BAD: "1"}
    worker = made.worker()
    for start in starts:
        made.kafka.produce(made.topic("in"), [("ann", "1")] * 5, timestamp_ms=start)
    made.wait_until_done(made.topic("in"), watch=[worker])
    assert counts(worker) == dict.fromkeys(starts, 10)
    assert worker.stop() == 0
    made.environment = {}
    worker = made.worker()
    worker.wait_started(2)
    Snapshots(made).run("create")

    api, runs = airflow.api(), Runs(airflow.api())
    about = api.get("/dags/replay/details")
    assert about["is_backfillable"], "the dialog does not offer it"
    # The dialog has the fields of the form, and gives them all, those left alone as they are.
    form = {name: field["value"] for name, field in about["params"].items()}
    given = {
        "dag_id": "replay",
        "from_date": iso(first),
        "to_date": iso(first + MINUTE_MS),
        "dag_run_conf": form | {"code": f"{CODE}:app", "stores": ["spans"]},
        "max_active_runs": 10,
    }
    shown = api.post("/backfills/dry_run", given)
    assert shown["total_entries"] == 2
    wait_until(lambda: begins(api, given), timeout=RUN_S, what="a moment for SQLite")
    wait_until(lambda: len(of(api)) == 2, timeout=RUN_S, what="both runs")
    both = of(api)

    def follow(one: Run) -> str:
        return runs.follow(one, timeout=RUN_S, asks=lambda _approval: "Approve")

    with ThreadPoolExecutor(len(both)) as pool:
        states = list(pool.map(follow, both))
    failed = [
        runs.log(one, task)[-4_000:]
        for one in both
        for task in runs.tasks(one)
        if task.state == "failed"
    ]
    assert states == ["success"] * 2, "\n".join(failed)
    worker.wait_started(2)
    mended = [start for start in starts if start < first + 2 * MINUTE_MS]
    assert counts(worker) == dict.fromkeys(starts, 10) | dict.fromkeys(mended, 5)
    assert worker.stop() == 0


def begins(api: Any, given: dict[str, Any]) -> bool:
    """On SQLite Airflow makes no backfill while anybody else writes, and says so."""
    try:
        api.post("/backfills", given)
    except ApiError as refused:
        if refused.status != 503:
            raise
        return False
    return True


def of(api: Any) -> list[Run]:
    return [Run("replay", one["dag_run_id"]) for one in api.get("/dags/replay/dagRuns")["dag_runs"]]
