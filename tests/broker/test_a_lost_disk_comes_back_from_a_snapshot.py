"""A worker whose disk is gone: the newest snapshot, and from its changelogs only what came after.

The newest of three snapshots is damaged in the last scenario, and the one before is taken.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.broker.restorable import EAGER, contents, take, tasks_of
from tests.broker.workers import Application
from tests.thorough import thorough

pytestmark = pytest.mark.long

OUTPUTS = ("totals", "closed", "every")
BLOCK = 1_500
# What is small here would be read before anybody has looked for a snapshot.
SLOWLY = "restore.before_batch=sleep:4000"


def produce(made: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 400}", str(row)) for row in range(BLOCK)]
    made.kafka.produce(made.topic("in"), records, timestamp_ms=lambda row: begin + row)


@thorough
def test_the_state_is_what_it_was(application: Any, tmp_path: Path, wait_until: Any) -> None:
    repository = f"file://{tmp_path}/repository"
    made: Application = application("counts", outputs=OUTPUTS, **EAGER)
    for block in range(3):
        produce(made, block)
    assert made.run().stop() == 0
    take(made, repository)
    produce(made, 3)
    assert made.run().stop() == 0
    before, committed = contents(made), made.committed()
    everything = sum(len(made.kafka.read(made.changelog(store))) for store in OUTPUTS)
    shutil.rmtree(made.state_dir())

    worker = made.worker(failpoints=SLOWLY, snapshot_repository=repository)
    started = worker.wait_started(2)
    for task in ("0_0", "0_1"):
        told = worker.wait_for(f"task {task}: restored from snapshot 0000000001-")
        assert f" of {repository} in " in told
    restored = sum(one.restored for one in started.values())
    assert 0 < restored < everything / 2
    assert {place: at for one in started.values() for place, at in one.positions.items()} == (
        committed
    )
    assert worker.metric("streamer_bootstraps_total", state="restored") == 2
    assert worker.metric("streamer_bootstrap_bytes_total") > 0
    wait_until(lambda: _others(made) == [], what="only the tasks' directories")
    assert worker.stop() == 0
    assert contents(made) == before

    # What it goes on with is right, too.
    produce(made, 4)
    assert made.run(snapshot_repository=repository).stop() == 0
    totals = sum(len(rows["store.totals"]) for rows in contents(made).values())
    assert totals == 400


@thorough
def test_a_damaged_snapshot_gives_way_to_the_one_before(application: Any, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    made: Application = application("counts", outputs=OUTPUTS, partitions=1, **EAGER)
    newest = {}
    for block in range(2):
        produce(made, block)
        assert made.run().stop() == 0
        newest = take(made, f"file://{repository}")
    before = contents(made)
    shutil.rmtree(made.state_dir())
    manifest = newest["0_0"].manifest
    own = [file for file in manifest.files if file.object.endswith(manifest.id)]
    largest = max(own, key=lambda file: file.size)
    (path,) = repository.rglob(largest.object)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    worker = made.worker(failpoints=SLOWLY, snapshot_repository=f"file://{repository}")
    worker.wait_started(1)
    assert "its sha256 is another" in worker.wait_for(f"snapshot {manifest.stem} of ")
    worker.wait_for("task 0_0: restored from snapshot 0000000001-")
    assert worker.stop() == 0
    assert contents(made) == before


@thorough
def test_a_repository_that_is_away_costs_nothing_but_the_changelog(
    application: Any, tmp_path: Path
) -> None:
    made: Application = application("counts", outputs=OUTPUTS, partitions=1, **EAGER)
    produce(made, 0)
    assert made.run().stop() == 0
    before = contents(made)
    shutil.rmtree(made.state_dir())

    worker = made.worker(
        failpoints=SLOWLY,
        snapshot_repository="s3://nobody/prefix",
        snapshot_s3_endpoint="http://127.0.0.1:9",
        snapshot_patience_ms=0,
    )
    worker.wait_for("task 0_0: no snapshot is at hand: ")
    worker.wait_started(1)
    assert worker.stop() == 0
    assert contents(made) == before
    # Nor does one without a snapshot.
    shutil.rmtree(made.state_dir())
    worker = made.worker(failpoints=SLOWLY, snapshot_repository=f"file://{tmp_path}/empty")
    worker.wait_started(1)
    assert worker.stop() == 0
    assert contents(made) == before


def _others(made: Application) -> list[str]:
    """What lies beside the tasks' own directories."""
    return [path.name for path in tasks_of(made).iterdir() if "." in path.name]
