"""The broker stands still while a snapshot is sent: that one needs no broker and is finished, the
next one waits for the broker, and the command that asked for both goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.sandbox import Sandbox
from tests.broker.conftest import Kafka
from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, Feeder
from tests.broker.snapshots import Snapshots, ended
from tests.thorough import thorough

# Longer than sessions (2 s) and transactions (5 s) last here.
AWAY_S = 10.0
TASKS = ["0_0", "0_1"]


@pytest.fixture
def own() -> Iterator[Sandbox]:
    with Sandbox(heap_mib=256) as running:
        yield running


@pytest.fixture
def kafka(own: Sandbox) -> Kafka:
    return Kafka(own.bootstrap_servers)


@thorough
def test_it_is_finished_and_the_next_one_too(
    own: Sandbox, application: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    place = tmp_path / "place"
    running = application(
        "counts",
        outputs=OUTPUTS,
        partitions=len(TASKS),
        snapshot_repository=f"file://{place}",
        transaction_timeout_ms=5_000,
    )
    snapshots = Snapshots(running)
    with Feeder(running) as feeder:
        # Long enough to be seen while it is sent, and for the broker to be stopped by then.
        worker = running.worker("a", failpoints="snapshot.after_pending=sleep:2000")
        worker.wait_started(len(TASKS))
        wait_until(lambda: worker.processed() > 1_000, what="some progress")
        asking = snapshots.start("create", "--json")
        try:
            wait_until(lambda: list(place.glob("**/pending/*")), what="a snapshot in the making")
            own.pause()
            paused_s = time.monotonic()
            try:
                wait_until(lambda: snapshots.notes(), what="the snapshot, without a broker")
                [first] = snapshots.manifests()
                time.sleep(max(paused_s + AWAY_S - time.monotonic(), 0.0))
                assert worker.get("/healthz") == {"is_live": True, "reasons": []}
                assert [one.stem for one in snapshots.manifests()] == [first.stem]
            finally:
                own.resume()
            made = ended(asking, timeout=480)
        finally:
            if asking.poll() is None:
                asking.kill()
                asking.communicate()
        feeder.stop()
    running.wait_until_done(watch=[worker], timeout=360)
    assert made["state"] == "done"
    found = snapshots.manifests()
    assert sorted(manifest.task for manifest in found) == TASKS, "each of them once"
    assert {manifest.made_for for manifest in found} == {made["id"]}
    assert snapshots.notes() == {manifest.stem: "files" for manifest in found}
    for manifest in found:
        state = snapshots.totals(manifest, tmp_path / "look" / manifest.task)
        assert state == snapshots.expected(manifest)
    assert_exact(running)
    assert worker.stop() == 0
