"""Somebody deleted the consumer group of an application that is down.

Its state knows where it was, and it goes on there. Where the disk is lost as well, nobody knows:
beginning anew would count records twice, so the worker says what to do and touches nothing.
"""

from __future__ import annotations

import shutil
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from tests.broker.exact import assert_exact, judged
from tests.broker.feeder import OUTPUTS, START_MS
from tests.broker.workers import Application

BLOCK = 600


def produce(application: Application, block: int) -> None:
    begin = START_MS + block * BLOCK
    records = [(f"customer-{row % 20}", str(row)) for row in range(BLOCK)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def forget(application: Application) -> dict[str, int]:
    """Delete the group; the positions that it had."""
    committed = application.committed()
    for gone in application.kafka.admin.delete_consumer_groups([application.name]).values():
        gone.result(60)
    assert application.committed() == {}
    return committed


def set_offsets(application: Application, positions: dict[str, int]) -> None:
    """As kafka-consumer-groups --reset-offsets does."""
    places = [
        TopicPartition(place.rpartition("/")[0], int(place.rpartition("/")[2]), at)
        for place, at in positions.items()
    ]
    request = [ConsumerGroupTopicPartitions(application.name, places)]
    for done in application.kafka.admin.alter_consumer_group_offsets(request).values():
        assert all(one.error is None for one in done.result(60).topic_partitions)


def test_it_goes_on_where_it_was_or_asks(application: Any) -> None:
    made: Application = application("counts", outputs=OUTPUTS)
    produce(made, 0)
    assert made.run().stop() == 0
    before = forget(made)
    produce(made, 1)

    worker = made.run()

    started = worker.wait_started(2).values()
    assert {place: at for one in started for place, at in one.positions.items()} == before
    assert {one.restored for one in started} == {0}
    assert worker.processed() == BLOCK
    assert_exact(made)
    assert worker.stop() == 0

    before = forget(made)
    shutil.rmtree(made.state_dir())
    produce(made, 2)
    topics = [made.changelog("totals"), made.topic("totals")]
    ends = made.ends(*topics)

    refused = made.worker()

    assert refused.wait() == 1
    assert f"has state, but group {made.name!r} has no committed offset for" in refused.error
    assert made.topic("in") in refused.error
    assert "kafka-consumer-groups --reset-offsets" in refused.error
    assert (made.ends(*topics), made.committed()) == (ends, {})

    set_offsets(made, before)
    worker = made.run()
    assert worker.processed() == BLOCK
    # Not the windows: which of them are final already was told beside the positions alone.
    verdict = judged(made)
    assert verdict, verdict
    assert worker.stop() == 0
