"""Without transactions: kills repeat records, but lose none, and results are there at once."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from tests.broker.expected import Window, check, expected, window_of
from tests.broker.workers import KILLED, Application

OUTPUTS = ("totals", "closed", "every")
IN_STEPS = {"commit_interval_ms": 1, "max_poll_records": 150}


def produce(application: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * 2_000
    records = [(f"customer-{row % 40}", str(row % 100)) for row in range(2_000)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def counts_by_key(application: Application) -> dict[str, int]:
    """The largest count of each key that was ever written."""
    found: dict[str, int] = {}
    for record in application.kafka.read(application.topic("totals")):
        key, count = (record.key or b"").decode(), json.loads(record.value or b"null")["count"]
        found[key] = max(count, found.get(key, 0))
    return found


def test_kills_repeat_records_but_lose_none(application: Any) -> None:
    made: Application = application(
        "counts", outputs=OUTPUTS, processing_guarantee="at_least_once", commit_interval_ms=100
    )
    produce(made, 0)
    assert made.run().stop() == 0
    # Without trouble it is exact.
    check(made)

    repeated = 0
    for point in (
        "commit.before_flush=kill@3",
        "commit.before_transaction_commit=kill@3",
        "commit.after_transaction_commit=kill@3",
    ):
        produce(made, len(made.workers))
        worker = made.worker(failpoints=point, **IN_STEPS)
        assert worker.wait() == KILLED
        repeated += IN_STEPS["max_poll_records"]
    worker = made.run()
    wanted = expected(made)

    found = counts_by_key(made)
    assert found.keys() == wanted.totals.keys()
    assert all(found[key] >= count for key, (count, _sum) in wanted.totals.items())
    assert sum(found.values()) <= sum(count for count, _sum in wanted.totals.values()) + repeated
    every: dict[Window, set[int]] = defaultdict(set)
    for record in made.kafka.read(made.topic("every")):
        key, start_ms = window_of(record.key or b"")
        every[key, start_ms].add(json.loads(record.value or b"null"))
    assert every.keys() == wanted.every.keys()
    assert all(every[window] >= set(series) for window, series in wanted.every.items())
    assert worker.stop() == 0
