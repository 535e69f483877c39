"""SIGKILL at each place of a commit, at the first, second or third commit, on one application.

Afterwards the worker goes on exactly at the last commit, reads of its changelogs only what its
state does not have yet, and every result is there once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from streamer.changelog.format import Positions
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from tests.broker.applications.counts import app as described
from tests.broker.conftest import HELD_UP_S
from tests.broker.expected import check
from tests.broker.workers import KILLED, Application
from tests.thorough import thorough_but

BLOCK = 1_500
KEYS = 40
STORES = ("totals", "closed", "every")

# Each turn of the loop commits some 150 records, so that the n-th commit is in the middle.
IN_STEPS = {"commit_interval_ms": 1, "max_poll_records": 150}

POINTS = [
    ("commit.before_flush", 1),
    ("commit.after_flush", 2),
    ("commit.before_transaction_commit", 3),
    ("commit.after_transaction_commit", 1),
    ("commit.before_store_write", 2),
    ("commit.after_store_write", 3),
]


_block = count()


def produce(application: Application) -> None:
    """A block of records, 2 ms apart: six windows."""
    begin = 1_700_000_000_000 + next(_block) * BLOCK * 2
    records = [(f"customer-{row * 7 % KEYS}", str(row % 100)) for row in range(BLOCK)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row * 2
    )


@pytest.fixture(scope="module")
def counts(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    name = f"killed-{uuid4().hex[:8]}"
    made = Application(kafka, name, "counts", tmp_path_factory.mktemp("killed"))
    kafka.create(*map(made.topic, ("in", *STORES)), partitions=2, retention_ms="-1")
    # State to be kept: what is killed first is not a worker that has nothing.
    produce(made)
    assert made.run().stop() == 0
    yield made
    made.close()


def stored(application: Application) -> dict[str, Positions]:
    """What the databases on disk say, by task; nobody may have them open."""
    specs = described.topology().subtopologies[0].stores
    found = {}
    for path in application.state_dir().glob("*/worker-0/tasks/*"):
        pool = MemoryPool(1 << 20, 1 << 20)
        database = TaskDatabase.open(path, specs, pool=pool, options={})
        found[path.name] = Positions.decode(database.metadata())
        database.close()
    return found


def missing(application: Application, *, held_up_s: float = HELD_UP_S) -> dict[str, int]:
    """Committed changelog records by task that the state on disk does not have."""
    tail = dict.fromkeys(positions := stored(application), 0)
    for store in STORES:
        for record in application.kafka.read(application.changelog(store), held_up_s=held_up_s):
            task = f"0_{record.partition}"
            tail[task] += record.offset >= positions[task].changelogs.get(store, 0)
    return tail


@pytest.mark.parametrize(
    ("point", "number"),
    thorough_but([POINTS[at] for at in (1, 2, 3, 4)], POINTS),
    ids=[point for point, _ in POINTS],
)
def test_nothing_is_lost_doubled_or_done_needlessly(
    counts: Application, point: str, number: int
) -> None:
    produce(counts)
    before = counts.committed()

    assert counts.worker(failpoints=f"{point}=kill@{number}", **IN_STEPS).wait() == KILLED

    is_committed = point not in [name for name, _ in POINTS[:3]]
    committed = counts.committed(stable=is_committed)
    assert (committed != before) == (is_committed or number > 1)
    assert committed != counts.ends()
    # The transaction of a kill before its commit is open, and nothing of it will come.
    tail = missing(counts, held_up_s=HELD_UP_S if is_committed else 0.5)
    assert any(tail.values()) == (point in ("commit.after_transaction_commit", POINTS[4][0]))

    worker = counts.run()
    started = worker.wait_started(len(tail))
    positions = {place: at for task in started.values() for place, at in task.positions.items()}
    assert positions == committed
    assert {task: one.restored for task, one in started.items()} == tail
    left = sum(end - committed[place] for place, end in counts.ends().items())
    assert worker.processed() == left
    check(counts)
    assert worker.stop() == 0


def test_a_kill_between_two_chunks_of_one_store_write_loses_nothing(application: Any) -> None:
    made = application("counts", outputs=STORES, commit_interval_ms=1_500)
    # 30,000 rows per task, of which one batch takes 10,000.
    begin = 1_700_000_000_000
    records = [(f"customer-{row}", str(row % 100)) for row in range(20_000)]
    made.kafka.produce(made.topic("in"), records, timestamp_ms=lambda row: begin + row // 10)

    assert made.worker(failpoints="commit.between_store_chunks=kill").wait() == KILLED

    committed, tail = made.committed(), missing(made)
    assert any(committed.values())
    assert any(tail.values())
    worker = made.run(commit_interval_ms=100)
    started = worker.wait_started(len(tail))
    assert {task: one.restored for task, one in started.items()} == tail
    assert worker.processed() == sum(made.ends().values()) - sum(committed.values())
    check(made)
