"""The controller dies while it writes assignments, or while it fences a worker that died."""

from __future__ import annotations

from typing import Any

import pytest

from tests.broker.expected import check
from tests.broker.workers import KILLED, Application, Worker
from tests.thorough import thorough_but

OUTPUTS = ("totals", "closed", "every")
BLOCK = 2_000
ALL = {"0_0", "0_1", "0_2", "0_3"}
ASSIGNMENTS = ("control.before_assignment", "control.after_assignment")
FENCES = ("control.before_fence", "control.after_fence")
IN_STEPS = {"commit_interval_ms": 20, "max_poll_records": 100}


def produce(application: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 60}", str(row % 100)) for row in range(BLOCK)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def running(worker: Worker) -> set[str]:
    return {task for task, about in worker.tasks().items() if about["state"] == "running"}


@pytest.mark.parametrize("point", thorough_but(ASSIGNMENTS[:1], ASSIGNMENTS))
def test_a_newcomer_takes_over_from_a_controller_that_dies_assigning(
    application: Any, wait_until: Any, point: str
) -> None:
    made = application("counts", outputs=OUTPUTS, partitions=4)
    # The first assignment is its own; the second makes room for the newcomer.
    first = made.worker("a", failpoints=f"{point}=kill@2", **IN_STEPS)
    wait_until(lambda: running(first) == ALL, what="all tasks at the first worker")
    produce(made, 0)

    second = made.worker("b", **IN_STEPS)
    assert first.wait() == KILLED
    produce(made, 1)
    made.wait_until_done(watch=[second])

    assert running(second) == ALL
    assert second.metric("streamer_controller") == 1
    check(made)
    assert second.stop() == 0


@pytest.mark.parametrize("point", thorough_but(FENCES[1:], FENCES))
def test_the_last_worker_fences_both_the_dead_and_the_controller_that_died_fencing_it(
    application: Any, wait_until: Any, point: str
) -> None:
    made = application("counts", outputs=OUTPUTS, partitions=4)
    first = made.worker("a", failpoints=f"{point}=kill", **IN_STEPS)
    wait_until(lambda: running(first) == ALL, what="all tasks at the first worker")
    second, third = made.worker("b", **IN_STEPS), made.worker("c", **IN_STEPS)
    workers = (first, second, third)
    wait_until(
        lambda: sorted(len(running(worker)) for worker in workers) == [1, 1, 2],
        what="tasks for each worker",
    )
    produce(made, 0)

    second.kill()
    assert first.wait() == KILLED
    produce(made, 1)
    made.wait_until_done(watch=[third])

    assert running(third) == ALL
    fenced = [message for message in third.messages if message.endswith("is fenced")]
    assert len(fenced) >= 2
    check(made)
    assert third.stop() == 0
