"""Four tasks that have come to four different times are made into two, and those into one: what
each has passed on as final does not come again, and what it has not comes. A worker loses its disk
in between."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from streamer.topology.partitioner import partition_of
from tests.broker.expected import check
from tests.broker.feeder import OUTPUTS, START_MS
from tests.broker.folds import Conductor
from tests.broker.workers import Application
from tests.thorough import thorough

pytestmark = [pytest.mark.long, thorough]

PARTITIONS, SECONDS = 4, 5


def keys_of(partition: int) -> list[str]:
    every = [f"customer-{number}" for number in range(40)]
    return [one for one in every if partition_of(one.encode(), PARTITIONS) == partition][:3]


def write(made: Application, until_s: int) -> None:
    """Windows of all keys, of each partition some more than of the one before."""
    for partition in range(PARTITIONS):
        for second in range(until_s - SECONDS, until_s + partition * SECONDS):
            records = [(key, str(second)) for key in keys_of(partition)]
            made.kafka.produce(made.topic("in"), records, timestamp_ms=START_MS + second * 1_000)


def folded(conductor: Conductor, tasks: int) -> None:
    operation = conductor.plan(f"0={tasks}")["operation"]
    code, out, err = conductor.ends("apply", operation)
    assert code == 0, f"{out}\n{err}"


def test_each_window_has_one_result(conductor: Conductor, made: Application) -> None:
    workers = [made.worker("a"), made.worker("b")]
    workers[0].wait_started(1)
    write(made, SECONDS)
    made.wait_until_done(watch=workers)
    folded(conductor, 2)
    workers[0].kill()
    shutil.rmtree(made.state_dir("a"))
    workers[0] = made.worker("a")
    made.wait_until_done(watch=workers)
    # From the latest of their times on, or these records were late.
    write(made, (PARTITIONS + 2) * SECONDS)
    made.wait_until_done(watch=workers)
    folded(conductor, 1)
    every = [key for partition in range(PARTITIONS) for key in keys_of(partition)]
    made.kafka.produce(
        made.topic("in"), [(key, "1") for key in every], timestamp_ms=START_MS + 1_000_000
    )
    made.wait_until_done(watch=workers)
    found = check(made)
    assert len(found.closed) > 100
    assert [worker.stop() for worker in workers] == [0, 0]


@pytest.fixture
def made(application: Any) -> Application:
    one: Application = application("counts", outputs=OUTPUTS, partitions=PARTITIONS)
    return one
