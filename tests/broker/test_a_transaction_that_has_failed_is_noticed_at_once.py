"""Librdkafka keeps the queue of a failed transaction until it times out, a minute or more later."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from streamer.config import Config
from streamer.errors import FencedError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.api import AbortableError, RefusedError
from streamer.kafka.producer import WorkerProducer
from tests.broker.conftest import Kafka, Names

LIMIT = 20_000
SMALL = b"x" * 1_000


def config(kafka: Kafka, names: Names) -> Config:
    return Config(
        application_id=names.application,
        bootstrap_servers=kafka.bootstrap_servers,
        memory_bytes_max=128 << 20,
    )


@pytest.fixture
def out(kafka: Kafka, names: Names) -> str:
    """A topic that takes less than the batches that are made for topics of unknown limits."""
    topic = names.topic("out")
    kafka.create(topic, partitions=1, max_message_bytes=str(LIMIT))
    return topic


def opened(
    kafka: Kafka, names: Names, limits: Callable[[], dict[str, int]] = dict
) -> WorkerProducer:
    producer = WorkerProducer(config(kafka, names), names.application, limits=limits)
    producer.init()
    return producer


def send(producer: WorkerProducer, topic: str, *values: bytes) -> None:
    producer.send(topic, [b"k"] * len(values), values, timestamps=[0] * len(values))


def test_while_more_is_sent_than_the_queue_holds(kafka: Kafka, names: Names, out: str) -> None:
    producer = opened(kafka, names)
    began = time.monotonic()
    with pytest.raises(RefusedError, match="too large"):
        send(producer, out, *[SMALL] * 200_000)
    # Again, with reports: which record it is cannot be told, so none is blamed.
    said = ""
    while "grant the right to describe its settings" not in said:
        producer.abort()
        with pytest.raises(AbortableError) as failed:
            send(producer, out, *[SMALL] * 200_000)
        said = str(failed.value)
    assert time.monotonic() - began < 45
    producer.close()
    assert kafka.read(out) == []


def test_when_it_is_to_be_committed(kafka: Kafka, names: Names, out: str) -> None:
    producer = opened(kafka, names)
    began = time.monotonic()

    def write() -> None:  # refused while it is still sent, if the broker is that quick
        send(producer, out, *[SMALL] * 2_000)
        producer.commit({}, None)

    with pytest.raises(RefusedError, match="too large"):
        write()
    producer.abort()
    assert time.monotonic() - began < 45
    producer.close()


def test_large_records_wait_for_room_in_the_queue(kafka: Kafka, names: Names) -> None:
    topic = names.topic("large")
    kafka.create(topic, partitions=1)
    producer = opened(kafka, names)
    send(producer, topic, *[bytes([row]) * 500_000 for row in range(60)])
    producer.commit({}, None)
    producer.close()
    assert [(one.value or b"-")[0] for one in kafka.read(topic)] == list(range(60))


def test_the_limits_are_read_again_and_the_producer_is_replaced(
    kafka: Kafka, names: Names, out: str
) -> None:
    known = {out: 1_000_000}
    admin = Admin(config(kafka, names))
    producer = opened(kafka, names, lambda: dict(known))
    send(producer, out, *[SMALL] * 100)
    known |= admin.message_limits([out])
    with pytest.raises(FencedError, match=f"{out} takes no more than {LIMIT}"):
        producer.commit({}, None)
    producer.close()
    producer = opened(kafka, names, lambda: dict(known))
    send(producer, out, *[SMALL] * 100)
    producer.commit({}, None)
    producer.close()
    assert [one.value for one in kafka.read(out)] == [SMALL] * 100


def test_a_record_goes_alone_if_it_is_too_large(kafka: Kafka, names: Names, out: str) -> None:
    """Of all sizes around the limit, next to the smallest ones: those that fit arrive."""
    admin = Admin(config(kafka, names))
    producer = opened(kafka, names, lambda: admin.message_limits([out]))
    refused: list[int] = []
    producer.on_refused = lambda _topic, _key, value, _error: refused.append(len(value or b""))
    sizes = [*range(LIMIT - 140, LIMIT - 60), LIMIT, 1_200_000]
    values = [part for size in sizes for part in (b"-", b"x" * size, b"-")]
    while True:
        refused.clear()
        try:
            send(producer, out, *values)
            producer.commit({}, None)
            break
        except AbortableError:
            producer.abort()
    producer.close()
    written = [len(one.value or b"") for one in kafka.read(out)]
    # Key, lengths and the header of the batch take 72 bytes.
    assert refused == [size for size in sizes if size > LIMIT - 73]
    assert written == [len(one) for one in values if len(one) <= LIMIT - 73]


def test_the_limits_are_those_of_the_topics(kafka: Kafka, names: Names, out: str) -> None:
    other = names.topic("segments")
    kafka.create(other, partitions=1, max_message_bytes="9000000", segment_bytes="2000000")
    limits = Admin(config(kafka, names)).message_limits([out, other, names.topic("missing")])
    assert limits == {out: LIMIT, other: 2_000_000}


def test_at_least_once_hears_of_every_record(kafka: Kafka, names: Names, out: str) -> None:
    producer = WorkerProducer(config(kafka, names), None, limits=lambda: {out: LIMIT})
    values = [b"1", b"x" * LIMIT, b"2", b"x" * (LIMIT + 1), b"3"]
    changelog = TopicPartition(out, 0)
    send(producer, out, *values)
    producer.send_changes(changelog, [(b"key", b"row")])
    with pytest.raises(RefusedError):
        producer.commit({}, None)
    producer.abort()
    refused: list[int] = []
    producer.on_refused = lambda _topic, _key, value, _error: refused.append(len(value or b""))
    send(producer, out, *values)
    producer.send_changes(changelog, [(b"key", b"row")])
    assert producer.commit({}, None) == {changelog: 8}
    producer.close()
    assert refused == [LIMIT, LIMIT + 1]
    assert [one.value for one in kafka.read(out)] == [b"1", b"2", b"3", b"row"] * 2
