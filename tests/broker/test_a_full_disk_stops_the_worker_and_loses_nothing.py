"""The disk of the state runs full under a running worker, on a small file system of its own.

The worker ends and names the directory and what to do. Nothing is wiped; a start while the disk is
still full says the same, and with space again the work goes on exactly once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, START_MS
from tests.broker.workers import Application

SIZE = "24m"
BLOCK = 6_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of `SIZE`; only root may mount one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a small file system can be mounted by root on Linux alone")
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)]
    made = subprocess.run(mount, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def produce(application: Application, block: int, count: int) -> None:
    """Records of as many keys, so that the state grows with each."""
    begin = START_MS + block * 10_000
    records = [(f"customer-{row:06}", str(row % 100)) for row in range(count)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row // 100
    )


def fill(disk: Path) -> Path:
    """A file that takes what is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for piece in (1 << 20, 1 << 12):
            try:
                while file.write(b"\0" * piece):
                    pass
            except OSError:
                continue
    return ballast


def assert_says_so(disk: Path, error: str) -> None:
    assert "the disk is full: " in error
    assert str(disk / "state") in error
    assert "bytes are free" in error
    assert "hint: free space on that disk and start the worker again" in error


def test_it_goes_on_exactly_once_with_space_again(small_disk: Path, application: Any) -> None:
    made: Application = application(
        "counts", outputs=OUTPUTS, state_dir=small_disk / "state", commit_interval_ms=200
    )
    produce(made, 0, 500)
    worker = made.worker()
    made.wait_until_done(watch=[worker])
    changelogs = [made.changelog(store) for store in OUTPUTS]
    before = sum(made.ends(*changelogs).values())
    tables = sorted(small_disk.rglob("tasks/*/CURRENT"))
    assert len(tables) == 2

    ballast = fill(small_disk)
    produce(made, 1, BLOCK)
    assert worker.wait() == 1
    assert_says_so(small_disk, worker.error)
    assert "Traceback" not in worker.text
    assert sorted(small_disk.rglob("tasks/*/CURRENT")) == tables

    again = made.worker()
    assert again.wait() == 1
    assert_says_so(small_disk, again.error)
    assert "Traceback" not in again.text

    ballast.unlink()
    committed, after = made.committed(), sum(made.ends(*changelogs).values())
    worker = made.worker()
    started = worker.wait_started(2).values()
    assert {place: at for one in started for place, at in one.positions.items()} == committed
    # The changes of the commit that could not be stored are read again, and no others.
    assert 0 < sum(one.restored for one in started) <= after - before
    made.wait_until_done(watch=[worker])
    assert worker.processed() == sum(made.ends().values()) - sum(committed.values())
    assert_exact(made)
    assert worker.stop() == 0
