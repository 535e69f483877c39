"""A day ends for more keys than one commit passes on. The worker is killed behind the second of
those commits; who goes on, with the disk or without, passes on the rest, and each result once."""

from __future__ import annotations

import shutil
import time
from typing import Any

import pytest

from streamer.engine.closing import RESULTS_MAX
from tests.broker.workers import KILLED, PATIENCE_S, Application
from tests.thorough import thorough, thorough_but

pytestmark = pytest.mark.long

DAY_MS = 86_400_000
START_MS = 19_700 * DAY_MS
KEYS = RESULTS_MAX * 5 // 2


@thorough
@pytest.mark.parametrize("lose_disk", thorough_but([True], [False, True]))
def test_the_rest_comes_from_whoever_goes_on(application: Any, lose_disk: bool) -> None:
    made: Application = application("daily", inputs=("in",), partitions=1)
    made.kafka.produce(
        made.topic("in"),
        [(f"customer-{number}", "1") for number in range(KEYS)],
        timestamp_ms=lambda _row: START_MS,
    )
    assert made.run().stop() == 0
    assert made.kafka.read(made.topic("out")) == []

    made.kafka.produce(made.topic("in"), [("next", "1")], timestamp_ms=START_MS + DAY_MS)
    worker = made.worker(failpoints="commit.after_transaction_commit=kill@2")
    assert worker.wait() == KILLED
    # The record that ended the day is committed, and so is how far its results have come.
    made.wait_until_done()
    assert len(made.kafka.read(made.topic("out"))) == 2 * RESULTS_MAX
    if lose_disk:
        shutil.rmtree(made.state_dir())

    again = made.worker()
    deadline_s = time.monotonic() + PATIENCE_S
    while len(found := [one.key for one in made.kafka.read(made.topic("out"))]) < KEYS:
        assert again.is_alive, again.tail()
        assert time.monotonic() < deadline_s
    assert again.stop() == 0
    assert len(found) == len(set(found)) == KEYS
