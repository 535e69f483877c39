"""SIGTERM: a last commit, the tasks are given up, exit code 0. A second one does not wait."""

from __future__ import annotations

import signal
import time
from typing import Any

from tests.broker.expected import check

OUTPUTS = ("totals", "closed", "every")


def test_sigterm_under_load_ends_in_seconds_and_nothing_is_done_again(
    application: Any, wait_until: Any
) -> None:
    # So long an interval that the last commit is that of the stop.
    made = application("counts", outputs=OUTPUTS, commit_interval_ms=30_000)
    worker = made.worker(max_poll_records=500)
    worker.wait_started(2)
    records = [(f"customer-{row % 60}", str(row % 100)) for row in range(20_000)]
    made.kafka.produce(made.topic("in"), records, timestamp_ms=lambda row: 1_700_000_000_000 + row)
    wait_until(lambda: worker.processed() >= 5_000, what="some progress")

    began = time.monotonic()
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert time.monotonic() - began < 25
    assert "SIGTERM: stopping after a last commit" in worker.text
    committed = made.committed()
    assert sum(committed.values()) >= 5_000

    again = made.run(commit_interval_ms=100)
    started = again.started()
    positions = {place: at for task in started.values() for place, at in task.positions.items()}
    assert positions == committed
    assert {task.restored for task in started.values()} == {0}
    assert again.processed() == 20_000 - sum(committed.values())
    check(made)
    assert again.stop() == 0
    # Nothing was left to do: a start and a stop write nothing.
    ends = made.ends(*map(made.topic, OUTPUTS))
    idle = made.worker()
    idle.wait_started(2)
    assert idle.stop() == 0
    assert made.ends(*map(made.topic, OUTPUTS)) == ends


def test_a_second_signal_does_not_wait_for_slow_code(application: Any) -> None:
    made = application("slow", outputs=("out", "counts"), partitions=1)
    made.kafka.produce(made.topic("in"), [("fast", "0"), ("slow", "60000")])
    worker = made.worker()
    worker.wait_for("takes 60000 ms")
    worker.send(signal.SIGTERM)
    worker.wait_for("SIGTERM: stopping after a last commit; again to stop at once")
    assert worker.is_alive

    began = time.monotonic()
    worker.send(signal.SIGTERM)
    assert worker.wait() == 130
    assert time.monotonic() - began < 25
    assert "stopping at once" in worker.text


def test_a_stop_that_takes_too_long_ends_by_itself(application: Any) -> None:
    made = application("slow", outputs=("out", "counts"), partitions=1, shutdown_timeout_ms=1_000)
    made.kafka.produce(made.topic("in"), [("slow", "60000")])
    worker = made.worker()
    worker.wait_for("takes 60000 ms")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 1
    assert "not stopped within shutdown_timeout_ms=1000" in worker.text
    # The record was not done; it is read again.
    assert made.committed(stable=False).get(f"{made.topic('in')}/0", 0) == 0
