"""SIGKILL at each place of a fetch and of the exchange of directories, on a disk with an old state
whose changelog was trimmed: the next start goes on, and the state is what it was."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.broker.restorable import contents, take, tasks_of, trim
from tests.broker.workers import KILLED, Application
from tests.thorough import thorough

pytestmark = pytest.mark.long

OUTPUTS = ("totals", "closed", "every")
BLOCK = 900
POINTS = (
    "fetch.after_file=kill@2",
    "bootstrap.before_adopt=kill",
    "adopt.before_marker=kill",
    "adopt.after_marker=kill",
    "adopt.between_renames=kill",
    "adopt.before_marker_removed=kill",
    "bootstrap.after_adopt=kill",
    "restore.before_batch=kill",
    "restore.before_ready=kill",
    "bootstrap.before_former_removed=kill",
)
# In the fetch, between the directories, and in what comes after.
SOME = (POINTS[0], POINTS[4], POINTS[8])


def produce(made: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 300}", str(row)) for row in range(BLOCK)]
    made.kafka.produce(made.topic("in"), records, timestamp_ms=lambda row: begin + row)


@thorough
@pytest.mark.parametrize(
    ("disk", "points"),
    [
        ("old", SOME),
        pytest.param("old", [point for point in POINTS if point not in SOME], marks=thorough),
        pytest.param(
            "lost",
            ["fetch.after_file=kill@3", "adopt.after_marker=kill", POINTS[-1]],
            marks=thorough,
        ),
    ],
    ids=["old", "old, elsewhere", "lost"],
)
def test_the_next_start_goes_on(
    application: Any, tmp_path: Path, wait_until: Any, disk: str, points: Sequence[str]
) -> None:
    repository = f"file://{tmp_path}/repository"
    made: Application = application(
        "counts", outputs=OUTPUTS, partitions=1, snapshot_repository=repository
    )
    produce(made, 0)
    assert made.run().stop() == 0
    old = tmp_path / "old"
    shutil.copytree(made.state_dir(), old)
    produce(made, 1)
    assert made.run().stop() == 0
    taken = take(made, repository)
    produce(made, 2)
    assert made.run().stop() == 0
    right = contents(made)
    trim(made, taken)

    for point in points:
        shutil.rmtree(made.state_dir())
        if disk == "old":
            shutil.copytree(old, made.state_dir())
        assert made.worker(failpoints=point).wait() == KILLED, point
        worker = made.worker()
        worker.wait_started(1)
        wait_until(
            lambda: [path.name for path in tasks_of(made).iterdir()] == ["0_0"],
            what=f"no other directory after {point}",
        )
        assert worker.stop() == 0
        assert contents(made) == right, point
