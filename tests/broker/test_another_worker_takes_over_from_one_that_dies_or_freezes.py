"""Two workers; one is killed, or frozen for longer than its session, in the middle of a commit."""

from __future__ import annotations

import signal
from typing import Any

from tests.broker.expected import check
from tests.broker.workers import KILLED, Application, Gate, Worker

OUTPUTS = ("totals", "closed", "every")
BLOCK = 4_000
IN_STEPS = {"commit_interval_ms": 1, "max_poll_records": 100}


def produce(application: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 60}", str(row % 100)) for row in range(BLOCK)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def running(worker: Worker) -> set[str]:
    return {task for task, about in worker.tasks().items() if about["state"] == "running"}


def started_two(application: Application, wait_until: Any, failpoints: str) -> list[Worker]:
    """Two workers with two tasks each; the first one has failpoints."""
    first = application.worker("a", failpoints=failpoints, **IN_STEPS)
    first.wait_started(4)
    second = application.worker("b")
    wait_until(
        lambda: (len(running(first)), len(running(second))) == (2, 2),
        what="two tasks for each worker",
    )
    return [first, second]


def test_the_other_worker_goes_on_where_the_killed_one_had_committed(
    application: Any, wait_until: Any
) -> None:
    made = application("counts", outputs=OUTPUTS, partitions=4)
    points = "commit.before_transaction_commit=kill@12"
    first, second = started_two(made, wait_until, points)
    mine = running(first)
    produce(made, 0)
    assert first.wait() == KILLED
    committed = made.committed(stable=False)
    produce(made, 1)

    made.wait_until_done(watch=[second])

    assert running(second) == {"0_0", "0_1", "0_2", "0_3"}
    started = second.started()
    for task in mine:
        place = f"{made.topic('in')}/{task[2:]}"
        assert started[task].positions == {place: committed[place]}
    # It followed the changelogs of these while the killed one was fenced.
    assert [message for message in second.messages if "keeping a copy" in message]
    check(made)


def test_what_a_frozen_worker_wrote_does_not_count_and_it_comes_back(
    application: Any, wait_until: Any
) -> None:
    made = application("counts", outputs=OUTPUTS, partitions=4)
    # Results and changes of the commit are written; it waits there to be frozen.
    gate = Gate(made.directory / "open")
    points = gate.at("commit.before_transaction_commit", 12)
    first, second = started_two(made, wait_until, points)
    produce(made, 0)
    first.wait_for("failpoint commit.before_transaction_commit acts")
    first.send(signal.SIGSTOP)
    try:
        wait_until(lambda: len(running(second)) == 4, what="a take-over of all tasks")
        produce(made, 1)
        made.wait_until_done(watch=[second])
    finally:
        gate.open()
        first.send(signal.SIGCONT)

    first.wait_for("fenced, dropping all tasks and joining again")
    wait_until(lambda: len(running(first)) == 2, what="tasks for the worker that came back")
    produce(made, 2)
    made.wait_until_done(watch=[first, second])
    assert first.metric("streamer_fenced_total") == 1
    assert running(first) | running(second) == {"0_0", "0_1", "0_2", "0_3"}
    check(made)
    assert first.stop() == 0
    assert second.stop() == 0
