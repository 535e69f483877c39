"""A topic that is far longer than what a worker fetches ahead, and code that takes its time: the
client asks for more of its first partitions alone, whose tasks rest until the others were read."""

from __future__ import annotations

import json
from typing import Any

from tests.broker.workers import Application
from tests.thorough import thorough

PARTITIONS = 4
# At 2 ms each half a minute, seven turns; some twenty times what is fetched ahead.
EACH = 4_000
VALUE = "2" + " " * 4_000


@thorough
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

    # Nothing is lost by rests, and nothing comes twice.
    assert worker.stop() == 0
    counts: dict[str, int] = {}
    for one in made.kafka.read(made.topic("counts")):
        counts[(one.key or b"").decode()] = json.loads(one.value or b"")
    for partition, position in enumerate(done()):
        found = [counts.get(f"{partition}-{row}", 0) for row in range(50)]
        assert found == [len(range(row, position, 50)) for row in range(50)]
