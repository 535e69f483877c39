"""Who reads a topic is told by its group: one that is there, and one that left a position."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from streamer.config import Config
from streamer.kafka.admin import Admin
from streamer.kafka.readers import Reader, Readers
from tests.broker.conftest import Kafka, Names


@pytest.fixture
def member(kafka: Kafka, names: Names) -> Iterator[str]:
    """The name of a group with a member that reads `read`, and commits nothing."""
    group = names.topic("there")
    consumer = Consumer(
        {
            **kafka.settings,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    stopping = threading.Event()

    def poll() -> None:
        while not stopping.is_set():
            consumer.poll(0.1)

    kafka.create(names.topic("read"), names.topic("other"), partitions=2)
    consumer.subscribe([names.topic("read")])
    thread = threading.Thread(target=poll)
    thread.start()
    yield group
    stopping.set()
    thread.join(120)
    consumer.close()


def test_a_group_is_told_with_its_members_and_its_topics(
    kafka: Kafka, names: Names, member: str, wait_until: Any
) -> None:
    read, other = names.topic("read"), names.topic("other")
    config = Config(application_id=names.topic("app"), bootstrap_servers=kafka.bootstrap_servers)
    readers = Readers(config, Admin(config))
    gone = names.topic("gone")
    consumer = Consumer({**kafka.settings, "group.id": gone})
    consumer.commit(offsets=[TopicPartition(other, 1, 1)], asynchronous=False)
    consumer.close()

    def found() -> list[Reader]:
        return readers.of({read: 2, other: 2}, is_own=lambda group: group == "nobody's")

    wanted = [Reader(gone, 0, (other,)), Reader(member, 1, (read,))]
    wait_until(lambda: found() == sorted(wanted, key=lambda one: one.group), what="both readers")
    assert str(wanted[0]) == f"group {gone} (a position, no members) on {other}"
    assert readers.of({read: 2}) == [Reader(member, 1, (read,))]
    assert readers.of({read: 2}, is_own=lambda group: group == member) == []
    assert readers.of({}) == []
