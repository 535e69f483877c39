"""The reader that all scenarios trust: it must not see aborted records, nor miss committed ones."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Producer


def test_only_committed_records_are_read(kafka: Any, names: Any) -> None:
    topic = names.topic("out")
    kafka.create(topic, partitions=2)
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": names.application}
    )
    producer.init_transactions(30)
    for value, is_kept in ((b"1", True), (b"2", False), (b"3", True)):
        producer.begin_transaction()
        producer.produce(topic, value, b"k", partition=0)
        producer.flush(30)
        if is_kept:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    assert [record.value for record in kafka.read(topic)] == [b"1", b"3"]
    everything = kafka.read(topic, isolation="read_uncommitted")
    assert [record.value for record in everything] == [b"1", b"2", b"3"]


def test_records_come_back_as_written(kafka: Any, names: Any) -> None:
    topic = names.topic("in")
    kafka.create(topic, partitions=3)
    pairs = [(f"k{i}", f"v{i}") for i in range(500)]

    assert kafka.produce(topic, pairs, timestamp_ms=lambda i: 1_000 + i, headers=[("a", b"b")])

    found = kafka.read(topic)
    assert sorted((r.key, r.value) for r in found) == sorted(
        (k.encode(), v.encode()) for k, v in pairs
    )
    assert sorted(r.timestamp_ms for r in found) == list(range(1_000, 1_500))
    assert {tuple(r.headers) for r in found} == {(("a", b"b"),)}
    assert {r.partition for r in found} == {0, 1, 2}


def test_a_topic_that_does_not_exist_is_not_read_as_empty(kafka: Any, names: Any) -> None:
    with pytest.raises(AssertionError, match="does not exist"):
        kafka.read(names.topic("nowhere"))
