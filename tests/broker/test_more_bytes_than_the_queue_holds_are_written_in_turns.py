"""Results and changes of state of one batch that are larger than the producer's whole queue."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.broker.workers import Application

RECORDS = 3_000
SIZE = 5_000


def test_more_bytes_than_the_queue_holds_are_written_in_turns(application: Any) -> None:
    made: Application = application("sizes", inputs=("in", "kept"), outputs=("out", "counts"))
    records = [(f"key-{row}", str(SIZE)) for row in range(RECORDS)]
    made.kafka.produce(made.topic("in"), records, partition=0)
    made.kafka.produce(made.topic("kept"), records, partition=0)

    worker = made.worker()
    made.wait_until_done(made.topic("in"), made.topic("kept"), watch=[worker])

    once = {f"key-{row}".encode(): 1 for row in range(RECORDS)}
    results = made.kafka.read(made.topic("out"))
    assert Counter(one.key for one in results) == once
    assert {len(one.value or b"") for one in results} == {SIZE}
    assert Counter(one.key for one in made.kafka.read(made.changelog("kept"))) == once
    assert worker.metric("streamer_transaction_aborts_total") == 0
    assert worker.stop() == 0
