"""A producer of somebody else takes a busy worker's transactional id, in the middle of the work.

The worker is fenced, joins anew by itself and takes its id back: what the foreigner had written
then counts for nothing, and the history is exact.
"""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer

from streamer.ids import transactional_id
from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, Feeder
from tests.broker.workers import Application

PARTITIONS = 2


def test_it_joins_anew_and_nothing_of_the_foreigner_counts(
    application: Any, wait_until: Any
) -> None:
    made: Application = application("counts", outputs=OUTPUTS, worker_id="own")
    worker = made.worker()
    worker.wait_started(PARTITIONS)
    with Feeder(made) as feeder:
        wait_until(lambda: worker.processed() > 1_000, what="some progress")
        foreigner = Producer(
            {**made.kafka.settings, "transactional.id": transactional_id(made.name, "own")}
        )
        foreigner.init_transactions(30)
        foreigner.begin_transaction()
        foreigner.produce(made.topic("totals"), b'{"count": 9, "sum": 9}', b"customer-1")
        foreigner.flush(30)

        worker.wait_for("fenced, dropping all tasks and joining again")
        wait_until(lambda: worker.metric("streamer_fenced_total") >= 1, what="a fence")
        before = worker.processed()
        wait_until(lambda: worker.processed() > before + 1_000, what="progress after the fence")
        feeder.stop()
    made.wait_until_done(watch=[worker])

    with pytest.raises(KafkaException, match=r"fenced|producer epoch"):
        foreigner.commit_transaction(30)
    # Taking the id back from a transaction that is open may take a second time.
    assert worker.metric("streamer_fenced_total") <= 2
    assert_exact(made)
    assert worker.stop() == 0
