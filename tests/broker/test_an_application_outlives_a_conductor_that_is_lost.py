"""Whoever conducts is lost with a pause and an operation in hand, and nobody comes: the application
goes on by itself, and the operation is finished from the command line, whenever that is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from streamer.config import Config
from streamer.control.operator import Operator
from streamer.control.right import LayoutRight
from streamer.kafka.admin import Admin
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.table import KafkaTable
from tests.broker import commands
from tests.broker.snapshots import Snapshots
from tests.broker.workers import KILLED, PATIENCE_S, ROOT, Application

# Of the pause and of the operation. Airflow that is away for an hour is away for longer as well.
LEASE_MS = 8_000
OPERATION = "snapshot-of-one-who-is-lost"
FIRST = [(f"key-{number % 40}", "1") for number in range(400)]
MORE = [(f"key-{number % 40}", "1") for number in range(200)]


def lost(made: Application, config: Config) -> tuple[str, float]:
    """Have one begin the operation, pause the application and die; the number of its pause, and the
    monotonic time, in seconds, before it asked for it."""
    settings = {
        "application_id": made.name,
        "bootstrap_servers": made.kafka.bootstrap_servers,
        "snapshot_repository": config.snapshot_repository,
    }
    with Executor(config, KafkaTable(config), all_kinds()) as executor:
        executor.propose("snapshot", {"order": OPERATION}, operation=OPERATION)
    command = [sys.executable, "-m", "tests.broker.conducting", json.dumps(settings)]
    done = subprocess.run(
        [*command, OPERATION, str(LEASE_MS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == KILLED, done.stderr
    number, asked = done.stdout.split()
    return number, float(asked)


def is_over(asked: float) -> bool:
    return time.monotonic() - asked >= LEASE_MS / 1000


def pause(operator: Operator) -> tuple[str, str]:
    told = operator.plan()
    assert told is not None
    return told.pause


def test_it_serves_on_after_the_lease_and_the_operation_is_resumed_later(
    application: Any, tmp_path: Path, wait_until: Any
) -> None:
    made: Application = application(
        "counts",
        outputs=("totals", "closed", "every"),
        snapshot_repository=f"file://{tmp_path}/repository",
    )
    snapshots = Snapshots(made)
    config = snapshots.config
    made.kafka.produce(made.topic("in"), FIRST, timestamp_ms=1_700_000_000_000)
    worker = made.run()
    stood = made.committed()

    number, asked = lost(made, config)
    made.kafka.produce(made.topic("in"), MORE, timestamp_ms=1_700_000_001_000)
    looks = 0
    with Operator(config) as operator:
        # Workers go on by themselves when the lease is over, and what the controller tells follows
        # that, so it is the lease that says until when nothing may move.
        while made.committed() == stood:
            looks += pause(operator) == (number, "holds")
            answered = worker.get("/stores/totals/key-0")["value"]["count"]
            assert answered == 10 or is_over(asked)
        assert is_over(asked), "something was processed in the pause"
        assert looks, "the pause was over before anybody looked"
        made.wait_until_done(watch=[worker])
        wait_until(lambda: pause(operator) == (number, "lapsed"), what="the end of the pause")
    assert worker.get("/stores/totals/key-0")["value"]["count"] == 15
    assert set(worker.started()) == worker.running(), "and was never anything but running"

    # Nobody has the operation any more, and nothing of it is lost.
    def left() -> dict[str, Any]:
        [one] = commands.answer(*snapshots.command("operations", "list"))
        return dict(one)

    wait_until(lambda: not left()["is_live"], what="the end of its lease")
    assert (left()["id"], left()["state"]) == (OPERATION, "running")
    resumed = commands.answer(*snapshots.command("operations", "resume", OPERATION))
    assert resumed["state"] == "done"
    for manifest in snapshots.manifests():
        assert snapshots.totals(manifest, tmp_path) == snapshots.expected(manifest)
    assert {manifest.task for manifest in snapshots.manifests()} == set(worker.running())

    # Nor does what the lost one held keep anybody from the next pause.
    with LayoutRight.claim(config, Admin(config)) as right:
        right.pause(lease_ms=60_000)
        right.wait_until_held(timeout_s=PATIENCE_S)
        right.lift()
    made.kafka.produce(made.topic("in"), MORE, timestamp_ms=1_700_000_002_000)
    made.wait_until_done(watch=[worker])
    assert worker.stop() == 0
