"""Snapshots on demand, while records come in: each has exactly what its positions say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.broker import commands
from tests.broker.conftest import Kafka, wait_until
from tests.broker.feeder import OUTPUTS, Feeder
from tests.broker.snapshots import Snapshots
from tests.broker.workers import Application
from tests.thorough import thorough

Make = Callable[..., Application]


def test_each_snapshot_has_the_fold_of_the_input_up_to_its_positions(
    application: Make, tmp_path: Path
) -> None:
    running = application(
        "counts",
        outputs=OUTPUTS,
        partitions=3,
        snapshot_repository=f"file://{tmp_path / 'place'}",
        # Each rests for half a second at least.
        snapshot_cpu_percent=20,
    )
    snapshots = Snapshots(running)
    with Feeder(running, rate=3_000, keys=500) as feeder:
        first, second = running.worker("a"), running.worker("b")
        wait_until(lambda: first.processed() > 0 and second.processed() > 0)
        made = snapshots.run("create", "--why", "a test")
        assert made["state"] == "done"
        again = snapshots.run("create", "--task", "0_1")
        assert again["state"] == "done"
        feeder.stop()
    running.wait_until_done(watch=[first, second])

    found = snapshots.manifests()
    tasks = [(manifest.task, manifest.made_for) for manifest in found]
    assert tasks == [
        ("0_0", made["id"]),
        ("0_1", made["id"]),
        ("0_1", again["id"]),
        ("0_2", made["id"]),
    ]
    assert snapshots.notes() == {manifest.stem: "files" for manifest in found}
    for number, manifest in enumerate(found):
        [position] = manifest.input
        assert position.position > 0
        state = snapshots.totals(manifest, tmp_path / str(number))
        assert state == snapshots.expected(manifest)
    ends = running.ends()
    assert any(
        each.input[0].position < ends[f"{each.input[0].topic}/{each.input[0].partition}"]
        for each in found
    ), "records came in meanwhile"

    rows = snapshots.run("verify", "--level", "restored")
    assert [(row["task"], row["whole"]) for row in rows] == [
        ("0_0", True),
        ("0_1", True),
        ("0_2", True),
    ]
    assert all(row["rows"]["totals"] > 0 for row in rows)
    for host in ("a", "b"):
        left = list(running.state_dir(host).glob("*/worker-*/checkpoints/*"))
        assert left == []


@thorough
def test_a_task_without_a_running_owner_is_named_and_waited_for(
    application: Make, tmp_path: Path, kafka: Kafka
) -> None:
    running = application(
        "counts", outputs=OUTPUTS, partitions=2, snapshot_repository=f"file://{tmp_path / 'place'}"
    )
    snapshots = Snapshots(running)
    kafka.produce(running.topic("in"), [(f"k{number}", "1") for number in range(100)])
    worker = running.run()
    worker.kill()
    waiting = snapshots.start("create", "--json")
    try:
        wait_until(lambda: "(nobody runs it)" in _listed(snapshots))
        running.worker("a")
        out, err = waiting.communicate(timeout=480)
    finally:
        if waiting.poll() is None:
            waiting.kill()
            waiting.communicate()
    assert waiting.returncode == 0, err + out
    assert [manifest.task for manifest in snapshots.manifests()] == ["0_0", "0_1"]


@thorough
def test_a_command_that_is_killed_is_resumed_or_taken_back(
    application: Make, tmp_path: Path, kafka: Kafka
) -> None:
    running = application(
        "counts", outputs=OUTPUTS, partitions=2, snapshot_repository=f"file://{tmp_path / 'place'}"
    )
    snapshots = Snapshots(running)
    kafka.produce(running.topic("in"), [(f"k{number}", "1") for number in range(100)])
    worker = running.run()
    worker.kill()
    ids = []
    for verb, state in (("cancel", "cancelled"), ("resume", "done")):
        waiting = snapshots.start("create", "--json")
        try:
            wait_until(lambda: "(nobody runs it)" in _listed(snapshots))
        finally:
            waiting.kill()
            waiting.communicate()
        [killed] = [one for one in _operations(snapshots, "list") if one["state"] == "running"]
        ids.append(killed["id"])
        if verb == "resume":
            running.worker("a")
        ended = _operations(snapshots, verb, killed["id"], "--take-over")
        assert ended["state"] == state
        orders = kafka.read(f"{running.name}.orders")
        assert orders[-1].value is None, "no order is left"
    # What was cancelled has no snapshot, though a worker came later.
    found = [(manifest.task, manifest.made_for) for manifest in snapshots.manifests()]
    assert found == [("0_0", ids[1]), ("0_1", ids[1])]


@thorough
def test_a_schedule_makes_snapshots_and_keeps_the_newest(application: Make, tmp_path: Path) -> None:
    running = application(
        "counts",
        outputs=OUTPUTS,
        partitions=2,
        snapshot_repository=f"file://{tmp_path / 'place'}",
        snapshot_interval_ms=1_500,
        snapshot_keep_last=2,
    )
    snapshots = Snapshots(running)
    with Feeder(running, rate=1_000) as feeder:
        worker = running.worker("a")
        wait_until(lambda: _newest(snapshots, "0_0") >= 4 and _newest(snapshots, "0_1") >= 4)
        feeder.stop()
        # A manifest is there a moment before the worker hears of it.
        wait_until(lambda: worker.metric("streamer_snapshots_made_total") >= 8)
        assert 0 <= worker.metric("streamer_snapshot_age_seconds", task="0_0") < 60
        assert worker.metric("streamer_snapshot_failures_total") == 0
        worker.stop()
    assert 2 <= len([each for each in snapshots.manifests() if each.task == "0_0"]) <= 3


def _newest(snapshots: Snapshots, task: str) -> int:
    return max((each.sequence for each in snapshots.manifests() if each.task == task), default=0)


def _listed(snapshots: Snapshots) -> str:
    """What `streamer operations list` says of progress at this moment."""
    steps = [one["steps"] for one in _operations(snapshots, "list") if one["is_live"]]
    told = [step.get("progress") or {} for each in steps for step in each]
    return " ".join(progress.get("held_by", "") for progress in told)


def _operations(snapshots: Snapshots, *arguments: str) -> Any:
    return commands.answer(*snapshots.command("operations", *arguments))
