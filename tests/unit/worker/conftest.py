"""What a worker's main thread drives, around a bootstrap and around the making of snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer import metrics
from tests.unit.worker.bootstrapped import OTHER, TASK, Worker
from tests.unit.worker.snapshotting import Host


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    yield Worker(tmp_path)
    for task in (TASK, OTHER):
        metrics.forget_task(task)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()
