"""`read_topic` gives every committed record up to the end, and says so when it cannot."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from streamer.errors import KafkaUnavailableError, TopicMissingError
from streamer.kafka.reading import read_topic
from tests.broker.conftest import Kafka, Names


def transactional(broker: str, name: str) -> Producer:
    producer = Producer(
        {"bootstrap.servers": broker, "transactional.id": name, "transaction.timeout.ms": 60_000}
    )
    producer.init_transactions(60)
    return producer


def test_a_topic_is_read_whole_or_not_at_all(broker: str, kafka: Kafka, names: Names) -> None:
    topic = names.topic("in")
    with pytest.raises(TopicMissingError, match=topic):
        read_topic(broker, topic)
    kafka.create(topic, partitions=3)
    assert read_topic(broker, topic) == []

    kafka.produce(topic, [(f"k{n}", f"v{n}") for n in range(5_000)], headers=[("h", b"1")])
    kafka.produce(topic, [(None, None)], partition=2, timestamp_ms=1_234)
    producer = transactional(broker, names.application)
    for value, ends in (
        ("gone", producer.abort_transaction),
        ("kept", producer.commit_transaction),
    ):
        producer.begin_transaction()
        for partition in range(3):
            producer.produce(topic, value, "k", partition)
        producer.flush(60)
        ends(60)

    records = read_topic(broker, topic)
    assert len(records) == 5_000 + 1 + 3
    assert {one.value for one in records} == {
        *(f"v{n}".encode() for n in range(5_000)),
        b"kept",
        None,
    }
    places = [(one.partition, one.offset) for one in records]
    assert places == sorted(places)
    (empty,) = [one for one in records if one.value is None]
    assert (empty.key, empty.partition, empty.timestamp_ms) == (None, 2, 1_234)
    assert records[0].headers == [("h", b"1")]

    producer.begin_transaction()
    producer.produce(topic, b"open", b"k", 1)
    producer.flush(60)
    with pytest.raises(KafkaUnavailableError, match=f"{topic}/1 at") as caught:
        read_topic(broker, topic, timeout_s=1.0)
    assert "transaction that is still open" in caught.value.hint
    producer.abort_transaction(60)
    assert len(read_topic(broker, topic)) == len(records)
