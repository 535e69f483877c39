"""A record that takes longer than the session, and records that take longer than a transaction."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from confluent_kafka import Producer

from tests.broker.workers import Application
from tests.thorough import thorough

OUTPUTS = ("out", "counts")


def results(application: Application) -> Counter[tuple[str, int]]:
    read = application.kafka.read(application.topic("out"))
    return Counter(((one.key or b"").decode(), json.loads(one.value or b"")) for one in read)


def together(application: Application, records: list[tuple[str, str, int]]) -> None:
    """Write (key, value, partition) so that readers see all of them at one moment."""
    producer = Producer(
        {**application.kafka.settings, "transactional.id": f"{application.name}-upstream"}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for key, value, partition in records:
        producer.produce(application.topic("in"), value, key, partition=partition)
    producer.commit_transaction(30)


def test_a_record_that_takes_longer_than_the_session_is_done_once(
    application: Any, wait_until: Any
) -> None:
    made: Application = application("slow", outputs=OUTPUTS)
    worker = made.worker("a", session_timeout_ms=4_000)
    worker.wait_started(2)
    other = made.worker("b", session_timeout_ms=4_000)
    other.wait_started(1)
    wait_until(lambda: len(worker.running()) == 1, what="one task for each")
    versions = [
        worker.metric("streamer_assignments_total"),
        other.metric("streamer_assignments_total"),
    ]
    for partition in (0, 1):
        records = [("before", "1"), ("slow", "9000"), ("after", "2")]
        made.kafka.produce(made.topic("in"), records, partition=partition)
    made.wait_until_done(watch=[worker, other])

    assert results(made) == {("before", 1): 2, ("slow", 9_000): 2, ("after", 2): 2}
    assert [worker.processed(), other.processed()] == [3, 3]
    for one in (worker, other):
        assert one.metric("streamer_fenced_total") == 0
        assert "fencing" not in one.text
    assert versions == [one.metric("streamer_assignments_total") for one in (worker, other)]
    assert worker.stop() == 0
    assert other.stop() == 0


@thorough
def test_records_that_take_longer_than_a_transaction_beside_fast_ones_are_done(
    application: Any,
) -> None:
    """While one task's results are in the open transaction, another task's code takes longer than
    the broker lets a transaction be open."""
    made: Application = application("slow", outputs=OUTPUTS, transaction_timeout_ms=3_000)
    worker = made.worker()
    worker.wait_started(2)
    written: list[tuple[str, str]] = []
    for row in range(3):
        # Both at once, so that they are taken in one turn.
        both = [(f"fast-{row}", "0", 0), (f"slow-{row}", "6000", 1)]
        together(made, both)
        written += [(key, value) for key, value, _partition in both]
        if row:
            made.wait_until_done(watch=[worker])

    assert results(made) == {(key, int(value)): 1 for key, value in written}
    # It is learnt at the first time.
    assert worker.metric("streamer_fenced_total") <= 1
    assert worker.stop() == 0
