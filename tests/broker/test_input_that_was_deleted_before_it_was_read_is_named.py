"""The input's retention passed the committed position: records are missing, which is never skipped
in silence. The worker ends and says where it was and where the topic begins now; only a position
that an operator sets accepts the loss. Where nothing was committed, the topic's start is the start.
"""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from streamer.ids import TopicPartition as Place
from tests.broker.feeder import OUTPUTS, START_MS
from tests.broker.workers import Application, Worker

COUNT = 500


def produce(application: Application, block: int) -> None:
    begin = START_MS + block * COUNT
    records = [("one", str(row)) for row in range(COUNT)]
    application.kafka.produce(
        application.topic("in"), records, partition=0, timestamp_ms=lambda row: begin + row
    )


def delete_before(application: Application, position: int) -> None:
    application.kafka.requests.delete_before({Place(application.topic("in"), 0): position})


def total(application: Application) -> dict[str, int]:
    """The last result of the one key."""
    last = application.kafka.read(application.topic("totals"))[-1]
    found: dict[str, int] = json.loads(last.value or b"")
    return found


def of(rows: range) -> dict[str, int]:
    """What the records with these offsets add up to."""
    return {"count": len(rows), "sum": sum(row % COUNT for row in rows)}


def test_a_position_before_the_start_ends_the_worker(application: Any) -> None:
    made: Application = application("counts", outputs=OUTPUTS, partitions=1)
    produce(made, 0)
    assert made.run().stop() == 0
    produce(made, 1)
    delete_before(made, COUNT + 200)

    refused: Worker = made.worker()

    assert refused.wait() == 1
    assert f"{made.topic('in')}/0" in refused.error
    assert f"position {COUNT}" in refused.error
    assert f"begins at {COUNT + 200}" in refused.error
    assert "kafka-consumer-groups --reset-offsets" in refused.error
    assert made.committed() == {f"{made.topic('in')}/0": COUNT}
    assert total(made) == of(range(COUNT))

    # Also earliest and latest leave it alone: they are for partitions that were never read.
    assert made.worker(auto_offset_reset="latest").wait() == 1
    place = TopicPartition(made.topic("in"), 0, COUNT + 200)
    request = [ConsumerGroupTopicPartitions(made.name, [place])]
    for done in made.kafka.admin.alter_consumer_group_offsets(request).values():
        done.result(60)
    worker = made.run()
    assert worker.processed() == COUNT - 200
    first, second = of(range(COUNT)), of(range(COUNT + 200, 2 * COUNT))
    assert total(made) == {name: first[name] + second[name] for name in first}
    assert worker.stop() == 0


def test_a_group_without_positions_begins_at_the_start(application: Any) -> None:
    made: Application = application("counts", outputs=OUTPUTS, partitions=1)
    produce(made, 0)
    delete_before(made, 120)
    worker = made.run()
    assert worker.processed() == COUNT - 120
    assert total(made) == of(range(120, COUNT))
    assert worker.stop() == 0
