"""A topic that is far longer than what a worker fetches ahead, and code that takes its time: the
client asks for more of its first partitions alone, whose tasks rest until the others were read."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.broker.workers import Application

PARTITIONS = 4
# At 2 ms each sixteen seconds, four turns; some ten times what is fetched ahead.
EACH = 2_000
VALUE = "2" + " " * 4_000


def test_none_waits_until_another_is_done(application: Any, wait_until: Any) -> None:
    made: Application = application("slow", partitions=PARTITIONS, outputs=("out", "counts"))
    for partition in range(PARTITIONS):
        records = [(f"{partition}-{row % 50}", VALUE) for row in range(EACH)]
        made.kafka.produce(made.topic("in"), records, partition=partition)
    worker = made.worker()

    def done() -> list[int]:
        return list(made.committed().values())

    wait_until(lambda: len(done()) == PARTITIONS and all(done()), what="some of each partition")
    assert max(done()) < EACH, done()

    made.wait_until_done(watch=[worker])
    read = made.kafka.read(made.topic("counts"))
    counts = {(one.key or b"").decode(): json.loads(one.value or b"") for one in read}
    keys = Counter(f"{partition}-{row % 50}" for partition in range(4) for row in range(EACH))
    assert counts == keys
    assert worker.processed() == PARTITIONS * EACH
    assert worker.stop() == 0
