"""Kill -9 of an owner whose tasks have a warm copy elsewhere: it is promoted as it is."""

from __future__ import annotations

import time
from typing import Any

from tests.broker.expected import check
from tests.broker.workers import PATIENCE_S, Application, Worker

OUTPUTS = ("totals", "closed", "every")
BLOCK = 4_000
EVERY = {"0_0", "0_1", "0_2", "0_3"}


def produce(application: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 60}", str(row % 100)) for row in range(BLOCK)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def warm_pair(application: Application, wait_until: Any) -> list[Worker]:
    """Two workers with two tasks each, and a copy of the other's."""
    first = application.worker("a")
    first.wait_started(4)
    second = application.worker("b")
    both = [first, second]
    wait_until(
        lambda: all(
            len(one.running()) == 2 and list(one.standbys().values()) == [0, 0] for one in both
        ),
        what="two tasks and two warm copies for each worker",
    )
    return both


def rest(workers: list[Worker]) -> list[set[str]]:
    """What each worker has on its disk, once nothing has moved for a moment."""
    placed: list[set[str]] = []
    since_s = time.monotonic()
    deadline = since_s + PATIENCE_S
    while time.monotonic() < since_s + 2:
        assert time.monotonic() < deadline, f"no rest: {placed}"
        now = [set(one.standbys()) | one.running() for one in workers]
        if now != placed or sum(map(len, now)) != 8:
            placed, since_s = now, time.monotonic()
        time.sleep(0.05)
    return placed


def test_the_copy_of_a_killed_worker_restores_nothing(application: Any, wait_until: Any) -> None:
    made = application("counts", outputs=OUTPUTS, partitions=4, standby_replicas=1)
    first, second = warm_pair(made, wait_until)
    produce(made, 0)
    made.wait_until_done(watch=[first, second])
    wait_until(lambda: list(second.standbys().values()) == [0, 0], what="warm copies again")
    copies = set(second.standbys())
    assert first.running() == copies

    first.kill()
    killed_s = time.monotonic()
    wait_until(lambda: second.running() == EVERY, what="a take-over of all tasks")
    seconds = time.monotonic() - killed_s
    print(f"killed: all tasks ran again after {seconds:.2f} s")
    assert seconds < made.settings["session_timeout_ms"] / 1000 + 20
    started = second.started()
    assert {task: started[task].restored for task in copies} == dict.fromkeys(copies, 0)
    produce(made, 1)
    made.wait_until_done(watch=[second])
    check(made)


def test_a_worker_that_comes_back_in_time_moves_no_state(application: Any, wait_until: Any) -> None:
    made = application("counts", outputs=OUTPUTS, partitions=4, standby_replicas=1)
    first, second = warm_pair(made, wait_until)
    third = made.worker("c")
    wait_until(lambda: len(third.running()) >= 1, what="a task for the third")
    produce(made, 0)
    made.wait_until_done(watch=[first, second, third])
    before = rest([first, second, third])

    assert first.stop() == 0
    wait_until(lambda: second.running() | third.running() == EVERY, what="owners of all tasks")
    produce(made, 1)
    made.wait_until_done(watch=[second, third])
    # Others took over what they had copies of, and nobody builds a copy in its place.
    assert [set(one.standbys()) | one.running() for one in (second, third)] == before[1:]

    first = made.worker("a")
    wait_until(lambda: len(first.running()) >= 1, what="tasks for the one that came back")
    # It read no more than was written while it was away.
    assert sum(one.restored for one in first.started().values()) < 3 * BLOCK
    produce(made, 2)
    made.wait_until_done(watch=[first, second, third])
    assert rest([first, second, third]) == before
    check(made)
