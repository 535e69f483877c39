"""A task forgets where its partitions end while it rests: its client has to say it once more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from streamer.config import Config
from streamer.ids import TopicPartition
from streamer.kafka.consumer import InputConsumer


@pytest.fixture(name="reader")
def reader_fixture(kafka: Any, names: Any) -> Iterator[InputConsumer]:
    config = Config(application_id=names.application, bootstrap_servers=kafka.bootstrap_servers)
    reader = InputConsumer(config)
    yield reader
    reader.close()


def told(reader: InputConsumer, seconds: float = 60.0) -> dict[TopicPartition, int]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ends := reader.fetch(100, 100).ends:
            return ends
    return {}


def test_also_where_nothing_has_come_since(kafka: Any, names: Any, reader: InputConsumer) -> None:
    topic = f"{names.application}.in"
    kafka.create(topic, partitions=1)
    kafka.produce(topic, [("k", "v")])
    place = TopicPartition(topic, 0)
    reader.add({place: 0})
    assert told(reader) == {place: 1}
    assert told(reader, 1.0) == {}
    for _ in range(2):
        reader.pause([place])
        assert told(reader, 0.5) == {}
        reader.resume([place])
        assert told(reader) == {place: 1}
