"""A client that was just made has what it asks for as soon as brokers can give it: those of a
switch, a failover and every command are new. Of several tries the fastest counts, since other
processes may take the processor; what a timer holds back is late in all of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Producer

from streamer.config import Config
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.changelog import ChangelogConsumer
from streamer.kafka.consumer import InputConsumer
from streamer.kafka.table import TableReader
from tests.broker.conftest import Kafka, Names

TRIES = 8
# Otherwise it is 0.6 s and more, always; like this some 0.15 at most.
TIMER_S = 0.45
# A worker connects while it begins, and has its first assignment later.
IDLE_S = 1.2


def fastest(once: Callable[[], float]) -> float:
    return min(once() for _ in range(TRIES))


def filled(kafka: Kafka, names: Names) -> tuple[Config, TopicPartition]:
    config = Config(application_id=names.application, bootstrap_servers=kafka.bootstrap_servers)
    place = TopicPartition(names.topic("filled"), 0)
    kafka.create(place.topic, partitions=1, cleanup_policy="compact")
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for number in range(10):
        producer.produce(place.topic, b"v", str(number).encode(), 0)
    assert producer.flush(60) == 0
    return config, place


def test_a_table_is_read(kafka: Kafka, names: Names) -> None:
    config, place = filled(kafka, names)
    ends = Admin(config).ends([place], "read_uncommitted")

    def once() -> float:
        began = time.monotonic()
        with TableReader(config, [place]) as reader:
            assert len(reader.read_to(ends, timeout_s=60)) == 10
            return time.monotonic() - began

    assert fastest(once) < TIMER_S


def test_the_first_input_of_a_worker_comes(kafka: Kafka, names: Names) -> None:
    config, place = filled(kafka, names)

    def once() -> float:
        reader = InputConsumer(config)
        time.sleep(IDLE_S)
        began = time.monotonic()
        reader.add({place: 3})
        while not (found := reader.fetch(100, 50).batches) and time.monotonic() < began + 60:
            pass
        took_s = time.monotonic() - began
        assert found
        reader.close()
        return took_s

    assert fastest(once) < TIMER_S


def test_the_first_changes_of_a_restore_come(kafka: Kafka, names: Names) -> None:
    config, place = filled(kafka, names)

    def once() -> float:
        reader = ChangelogConsumer(config)
        time.sleep(IDLE_S)
        began = time.monotonic()
        reader.add({place: 3})
        while not (found := reader.fetch(100, 50).records) and time.monotonic() < began + 60:
            pass
        took_s = time.monotonic() - began
        assert found
        reader.close()
        return took_s

    assert fastest(once) < TIMER_S
