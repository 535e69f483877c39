"""The changelog was trimmed while a worker was away: what it has, or has lost, is continued from a
snapshot that reaches the trimmed begin, and from nothing else. Nothing is ever wiped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.broker.restorable import contents, take, tasks_of, trim
from tests.broker.workers import Application
from tests.thorough import thorough

pytestmark = pytest.mark.long

OUTPUTS = ("totals", "closed", "every")
BLOCK = 1_200


def produce(made: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 300}", str(row)) for row in range(BLOCK)]
    made.kafka.produce(made.topic("in"), records, timestamp_ms=lambda row: begin + row)


def names(made: Application) -> list[str]:
    return sorted(path.name for path in tasks_of(made).iterdir())


@thorough
def test_a_snapshot_helps_and_without_one_it_is_refused(application: Any, tmp_path: Path) -> None:
    made: Application = application("counts", outputs=OUTPUTS, partitions=1)
    early, late, empty = (f"file://{tmp_path}/{name}" for name in ("early", "late", "empty"))
    produce(made, 0)
    assert made.run().stop() == 0
    take(made, early)
    old = tmp_path / "old"
    shutil.copytree(made.state_dir(), old)
    produce(made, 1)
    assert made.run().stop() == 0
    taken = take(made, late)
    produce(made, 2)
    assert made.run().stop() == 0
    right = contents(made)
    trim(made, taken)
    begin = next(
        each.position
        for each in taken["0_0"].manifest.changelog
        if each.topic == made.changelog("totals")
    )

    def back_to_old() -> None:
        shutil.rmtree(made.state_dir())
        shutil.copytree(old, made.state_dir())

    # Without a repository, with one that is empty, and with one whose snapshots are too old.
    back_to_old()
    was = contents(made)
    for settings, said in (
        ({}, "set snapshot_repository to where there is one"),
        ({"snapshot_repository": empty}, "and no snapshot brings it back: "),
        ({"snapshot_repository": early}, ": what lies between is gone"),
    ):
        worker = made.worker(**settings)
        assert worker.wait() == 1
        assert "stands at position" in worker.error
        assert f"begins at {begin}" in worker.text
        assert said in worker.error
        assert contents(made) == was
        assert names(made) == ["0_0"]

    # A lost disk is not filled with a part of the state either.
    shutil.rmtree(made.state_dir())
    worker = made.worker()
    assert worker.wait() == 1
    assert "is empty, but changelog" in worker.error
    assert all(not rows for rows in contents(made)["0_0"].values())

    # With a snapshot that reaches so far, both come back, and what is old gives its files.
    for is_lost in (True, False):
        back_to_old()
        if is_lost:
            shutil.rmtree(made.state_dir())
        worker = made.worker(snapshot_repository=late)
        worker.wait_started(1)
        assert "the records between were deleted. A snapshot of it is looked for in " + late in (
            worker.wait_for("A snapshot of it is looked for in")
        )
        worker.wait_for("task 0_0: restored from snapshot 0000000001-")
        assert worker.stop() == 0
        assert contents(made) == right
