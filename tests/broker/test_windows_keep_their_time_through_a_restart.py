"""A table is a day ahead of the readings that are joined with it. Windows go by the readings alone.

A worker that takes over knows how far they were, with its disk and without: what was late stays
late, what was not is counted, and no window is passed on twice.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.broker.expected import window_of
from tests.broker.workers import Application
from tests.thorough import thorough_but

DAY_MS = 86_400_000
START_MS = 1_700_000_000_000


def send(application: Application, *offsets_ms: int) -> None:
    application.kafka.produce(
        application.topic("in"),
        [("x", "1")] * len(offsets_ms),
        timestamp_ms=lambda row: START_MS + offsets_ms[row],
    )


def passed_on(application: Application) -> list[tuple[int, int]]:
    """Starts of windows, behind the first, with their counts."""
    records = application.kafka.read(application.topic("out"))
    return [
        (window_of(one.key or b"")[1] - START_MS, json.loads(one.value or b"")) for one in records
    ]


@pytest.mark.parametrize("lose_disk", thorough_but([True], [False, True]))
def test_late_stays_late_and_in_order_stays_in_order(application: Any, lose_disk: bool) -> None:
    made: Application = application(
        "readings", inputs=("in", "devices"), partitions=1, commit_interval_ms=100
    )
    topics = made.topic("devices"), made.topic("in")
    made.kafka.produce(topics[0], [("x", "on")], timestamp_ms=lambda _row: START_MS + DAY_MS)
    worker = made.worker()
    made.wait_until_done(topics[0], watch=[worker])
    send(made, 1_000, 2_000, 12_000, 15_000, 25_000)
    made.wait_until_done(*topics, watch=[worker])
    assert passed_on(made) == [(0, 2), (10_000, 2)]
    assert worker.metric("streamer_records_dropped_total", reason="late") == 0
    worker.kill()
    if lose_disk:
        shutil.rmtree(made.state_dir())

    send(made, 3_000, 21_000, 26_000)
    again = made.worker()
    made.wait_until_done(*topics, watch=[again])
    assert again.metric("streamer_records_dropped_total", reason="late") == 1
    assert passed_on(made) == [(0, 2), (10_000, 2)]
    send(made, 30_000)
    made.wait_until_done(*topics, watch=[again])
    assert passed_on(made) == [(0, 2), (10_000, 2), (20_000, 3)]
    assert again.stop() == 0
