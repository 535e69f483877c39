"""Four tasks that have come to four different times are made into two, and those into one: what
each has passed on as final does not come again, and what it has not comes. A worker loses its disk
in between."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from streamer.topology.partitioner import partition_of
from tests.broker.expected import check
from tests.broker.feeder import OUTPUTS, START_MS
from tests.broker.folds import Conductor
from tests.broker.workers import Application, Worker
from tests.thorough import thorough

pytestmark = [pytest.mark.long, thorough]

PARTITIONS, SECONDS = 4, 5


def keys_of(partition: int) -> list[str]:
    every = [f"customer-{number}" for number in range(40)]
    return [one for one in every if partition_of(one.encode(), PARTITIONS) == partition][:3]


def write(made: Application, begin_s: int, workers: Sequence[Worker]) -> None:
    """Windows of all keys, and then of each partition some that are later than those of the one
    before. Slowly, or a task of two partitions would find late what it reads last."""
    for second in range(begin_s, begin_s + SECONDS):
        send(made, range(PARTITIONS), second)
        made.wait_until_done(watch=workers)
    for partition in range(PARTITIONS):
        for second in range(SECONDS):
            send(made, [partition], begin_s + (1 + partition) * SECONDS + second)
        made.wait_until_done(watch=workers)


def send(made: Application, partitions: Iterable[int], second: int) -> None:
    records = [(key, str(second)) for partition in partitions for key in keys_of(partition)]
    made.kafka.produce(made.topic("in"), records, timestamp_ms=START_MS + second * 1_000)


def folded(conductor: Conductor, tasks: int) -> None:
    operation = conductor.plan(f"0={tasks}")["operation"]
    code, out, err = conductor.ends("apply", operation)
    assert code == 0, f"{out}\n{err}"


def test_each_window_has_one_result(conductor: Conductor, made: Application) -> None:
    workers = [made.worker("a"), made.worker("b")]
    workers[0].wait_started(1)
    write(made, 0, workers)
    folded(conductor, 2)
    workers[0].kill()
    shutil.rmtree(made.state_dir("a"))
    workers[0] = made.worker("a")
    made.wait_until_done(watch=workers)
    # From the latest of their times on, or these records were late.
    write(made, (2 + PARTITIONS) * SECONDS, workers)
    folded(conductor, 1)
    send(made, range(PARTITIONS), 1_000)
    made.wait_until_done(watch=workers)
    found = check(made)
    assert len(found.closed) > 100
    assert [worker.stop() for worker in workers] == [0, 0]


@pytest.fixture
def made(application: Any) -> Application:
    one: Application = application("counts", outputs=OUTPUTS, partitions=PARTITIONS)
    return one
