"""Brokers forget the positions of a group without members: an idle worker writes them again.

All offsets of the group are deleted, as by expiry, and come back without any record.
"""

from __future__ import annotations

from typing import Any

from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, START_MS
from tests.broker.workers import Application


def test_they_come_back_without_any_record(application: Any, wait_until: Any) -> None:
    made: Application = application(
        "counts", outputs=OUTPUTS, partitions=3, offsets_refresh_ms=1_000
    )
    place = made.topic("in")
    # The third partition never had a record, and its position is known too.
    for partition in (0, 1):
        records = [(f"p{partition}-{row % 7}", str(row)) for row in range(300)]
        made.kafka.produce(
            place, records, partition=partition, timestamp_ms=lambda row: START_MS + row
        )
    positions = {f"{place}/0": 300, f"{place}/1": 300, f"{place}/2": 0}
    worker = made.worker()
    wait_until(lambda: made.committed() == positions, what="the first commits")
    totals, changes = (made.ends(made.topic("totals")), made.ends(made.changelog("totals")))

    for _round in range(2):
        for gone in made.kafka.admin.delete_consumer_groups([made.name]).values():
            gone.result(60)
        wait_until(lambda: made.committed() == positions, what="positions again")

    # Positions alone: no result and no change was written with them.
    moved = (made.ends(made.topic("totals")), made.ends(made.changelog("totals")))
    assert moved == (totals, changes)
    assert worker.processed() == 600
    assert_exact(made)
    assert worker.stop() == 0
