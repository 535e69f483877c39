"""A running application is trimmed, and a worker whose disk was lost comes back as it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamer.cli.main import main
from streamer.ids import TaskId, TopicPartition
from tests.broker.trims import Snapshots, fingerprint, positions_of
from tests.broker.workers import PATIENCE_S, Application, Worker
from tests.thorough import thorough

ROOT = Path(__file__).parents[2]
TASK = TaskId(0, 0)
STORES = ("totals", "closed", "every")
KEYS = 40


def send(application: Application, rounds: range) -> None:
    """One update of each key in each round, a window later each time."""
    records = [
        (f"key-{number:03}", json.dumps(round_ * 1_000 + number))
        for round_ in rounds
        for number in range(KEYS)
    ]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda at: (rounds[0] + at // KEYS) * 1_000
    )


def process(application: Application, worker: Worker, rounds: range) -> None:
    """Round by round, so that not all updates of a key become one record of the changelog."""
    for number in rounds:
        send(application, range(number, number + 1))
        application.wait_until_done(watch=[worker])


def plan(snapshots: Snapshots, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    assert main(["trim", "plan", "--beyond-cap", "--json", *more, *snapshots.options]) == 0
    return json.loads(capsys.readouterr().out)


def planned(
    snapshots: Snapshots, capsys: pytest.CaptureFixture[str], is_it: Callable[[Any], bool]
) -> Any:
    """A plan, once workers have said what is waited for."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_it(found := plan(snapshots, capsys)):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    return found


def starts(application: Application, partitions: int = 1) -> dict[TopicPartition, int]:
    places = [
        TopicPartition(application.changelog(store), number)
        for store in STORES
        for number in range(partitions)
    ]
    return application.kafka.requests.starts(places)


@pytest.fixture
def counts(application: Callable[..., Application]) -> Application:
    return application("counts", outputs=("totals", "closed", "every"), partitions=1)


def test_a_trim_of_a_running_application_leaves_what_a_lost_disk_needs(
    counts: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots = Snapshots(counts)
    worker = counts.worker()
    process(counts, worker, range(1, 6))
    first = snapshots.make(TASK)
    process(counts, worker, range(6, 11))
    # Nothing that nobody has verified lifts a floor.
    unverified = snapshots.make(TASK, verified=False)
    found = planned(snapshots, capsys, lambda one: len(one["partitions"]) == 3)
    assert found["operation"] is None
    for part in found["partitions"]:
        reasons = {one["owner"]: one["reason"] for one in part["holders"]}
        assert reasons["verified snapshots"].startswith("1 of 2 that are needed")
        assert f"{unverified.id[:12]}: nobody has verified it" in reasons["verified snapshots"]
    second = snapshots.make(TASK)
    process(counts, worker, range(11, 14))

    found = planned(snapshots, capsys, lambda one: one["operation"] is not None)
    expected = {each.topic: each.position for each in first.changelog}
    assert {part["topic"]: part["to"] for part in found["partitions"]} == expected
    for part in found["partitions"]:
        assert part["holders"][0]["owner"] == f"snapshot {first.id[:12]}"
        assert part["bytes"] > 20 * part["offsets"], "it was weighed"
        assert part["freed_bytes"] == 0, "all of it is in the newest segment"
    assert main(["trim", "apply", found["operation"], *snapshots.options]) == 0
    assert "3 of 3 logs are cut" in capsys.readouterr().out
    assert {place.topic: at for place, at in starts(counts).items()} == expected
    # Again is as once.
    assert main(["trim", "apply", found["operation"], *snapshots.options]) == 0
    capsys.readouterr()

    place = f"{counts.changelog('totals')}/0"
    assert main(["why-kept", place, *snapshots.options]) == 0
    told = capsys.readouterr().out
    assert f"begins at {expected[counts.changelog('totals')]:,}" in told
    assert f"snapshot {second.id[:12]}" in told
    assert f"operation {found['operation']}" in told

    # What comes after it goes on as ever, and is in no snapshot.
    process(counts, worker, range(14, 17))
    worker.stop()
    before = fingerprint(snapshots.database(TASK))
    at_end = positions_of(snapshots.database(TASK))
    assert before["store.totals"][0] == KEYS
    shutil.rmtree(counts.state_dir())

    brought = snapshots.bring_back(TASK, "a")
    assert brought.id == second.id
    restored = counts.worker()
    # The task's changelogs are read from the snapshot on, and from nowhere else.
    assert restored.wait_started(1)["0_0"].restored > 0
    assert restored.stop() == 0
    after = snapshots.database(TASK)
    assert fingerprint(after) == before
    # A restore also passes the marker of the last commit.
    assert positions_of(after) == {store: at + 1 for store, at in at_end.items()}


def test_an_empty_disk_without_a_snapshot_is_refused_and_not_half_restored(
    counts: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots = Snapshots(counts)
    worker = counts.worker()
    process(counts, worker, range(1, 4))
    snapshots.make(TASK)
    snapshots.make(TASK)
    found = planned(snapshots, capsys, lambda one: one["operation"] is not None)
    assert main(["trim", "apply", *snapshots.options]) == 0
    assert found["operation"] in capsys.readouterr().out
    worker.stop()
    shutil.rmtree(counts.state_dir())
    refused = counts.worker()
    said = refused.wait_for("begins at")
    assert "is empty, but changelog" in said


@thorough
def test_a_trim_that_is_killed_in_the_middle_is_resumed_by_another_process(
    application: Callable[..., Application], capsys: pytest.CaptureFixture[str]
) -> None:
    counts = application("counts", outputs=("totals", "closed", "every"), partitions=3)
    snapshots = Snapshots(counts)
    worker = counts.worker()
    process(counts, worker, range(1, 5))
    tasks = [TaskId(0, number) for number in range(3)]
    for _ in range(2):
        for task in tasks:
            snapshots.make(task)
    found = planned(
        snapshots, capsys, lambda one: sum(part["offsets"] > 0 for part in one["partitions"]) == 9
    )
    command = [sys.executable, "-m", "streamer.cli.main", "trim", "apply", found["operation"]]
    killed = subprocess.run(
        [*command, *snapshots.options],
        cwd=ROOT,
        env={**os.environ, "STREAMER_FAILPOINTS": "trim.after_delete=kill@2"},
        capture_output=True,
        timeout=480,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    expected = {
        TopicPartition(part["topic"], part["partition"]): part["to"] for part in found["partitions"]
    }
    half = starts(counts, 3)
    assert sum(half[place] == at for place, at in expected.items()) == 6
    # There is no way back from here, and the process counts as alive for a while.
    assert main(["operations", "cancel", found["operation"], *snapshots.options]) == 3
    resume = ["operations", "resume", found["operation"], "--take-over"]
    assert main([*resume, *snapshots.options]) == 0
    capsys.readouterr()
    assert starts(counts, 3) == expected
    assert worker.is_alive
    process(counts, worker, range(5, 7))
    assert worker.stop() == 0


@thorough
@pytest.mark.usefixtures("eager_cleaner")
def test_what_a_trim_leaves_stays_whatever_the_cleaner_does(
    counts: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    """The topics are compact and delete, with unlimited retention."""
    snapshots = Snapshots(counts)
    worker = counts.worker()
    process(counts, worker, range(1, 4))
    for _ in range(2):
        snapshots.make(TASK)
    process(counts, worker, range(4, 6))
    planned(snapshots, capsys, lambda one: one["operation"] is not None)
    assert main(["trim", "apply", *snapshots.options]) == 0
    topic = counts.changelog("totals")
    begin = starts(counts)
    left = [(one.offset, one.key, one.value) for one in counts.kafka.read(topic)]
    assert left[0][0] >= begin[TopicPartition(topic, 0)]
    settings = counts.kafka.requests.topic_settings([topic])[topic]
    assert set(settings["cleanup.policy"].split(",")) == {"compact", "delete"}
    assert (settings["retention.ms"], settings["retention.bytes"]) == ("-1", "-1")
    # The cleaner comes by every second.
    time.sleep(3)
    assert starts(counts) == begin
    newest = {key: value for _offset, key, value in left}
    again = {one.key: one.value for one in counts.kafka.read(topic)}
    assert again == newest
    assert worker.is_alive
