"""SIGKILL at each place outside the commit, one after the other on the same application.

The state is lost before, so every start continues the restore that the kill before it cut off.
"""

from __future__ import annotations

import shutil
import signal
from typing import Any

import pytest

from tests.broker.expected import check
from tests.broker.workers import KILLED, Application

pytestmark = pytest.mark.long

OUTPUTS = ("totals", "closed", "every")
BLOCK = 1_200


def produce(application: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 400}", str(row)) for row in range(BLOCK)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def test_every_start_goes_on_where_the_killed_one_was(application: Any) -> None:
    made: Application = application("counts", outputs=OUTPUTS, max_poll_records=100)
    for block in range(3):
        produce(made, block)
    assert made.run().stop() == 0
    rows = sum(len(made.kafka.read(made.changelog(store))) for store in OUTPUTS)
    shutil.rmtree(made.state_dir())

    produce(made, 3)
    committed = made.committed()
    for point in (
        "task.before_open=kill@2",
        "task.after_open=kill@2",
        "restore.before_batch=kill@2",
        "restore.after_batch=kill@2",
        "restore.before_ready=kill@1",
    ):
        assert made.worker(failpoints=point).wait() == KILLED
        assert made.committed(stable=False) == committed

    worker = made.worker(failpoints="task.before_close=kill@2")
    started = worker.wait_started(2)
    positions = {place: at for task in started.values() for place, at in task.positions.items()}
    assert positions == committed
    # The two batches that were saved, and the store of the task that was ready, are not read again;
    # the other task had maybe come as far.
    assert sum(task.restored for task in started.values()) < rows
    made.wait_until_done(watch=[worker])
    assert worker.processed() == BLOCK
    check(made)

    # A task is closed behind its last commit: nothing is to be done again.
    worker.send(signal.SIGTERM)
    assert worker.wait() == KILLED
    worker = made.worker(failpoints="worker.before_leave=kill")
    started = worker.wait_started(2)
    positions = {place: at for task in started.values() for place, at in task.positions.items()}
    assert positions == made.ends()
    assert {task.restored for task in started.values()} == {0}
    produce(made, 4)
    made.wait_until_done(watch=[worker])
    assert worker.processed() == BLOCK
    worker.send(signal.SIGTERM)
    assert worker.wait() == KILLED

    produce(made, 5)
    worker = made.run()
    assert worker.processed() == BLOCK
    assert {task.restored for task in worker.wait_started(2).values()} == {0}
    check(made)
