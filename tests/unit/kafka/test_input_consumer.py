"""A client that gets no answer for committed positions is replaced, and reads on where it was."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as Address

from streamer.config import Config
from streamer.errors import ConfigError, KafkaUnavailableError
from streamer.ids import TopicPartition
from streamer.kafka import consumer
from streamer.kafka.consumer import InputConsumer

A, B = TopicPartition("rows", 0), TopicPartition("rows", 1)


class FakeConsumer:
    """Of a group whose coordinator answers with `trouble`, where there is one."""

    made: list[FakeConsumer]
    trouble: int | None = None

    def __init__(self, _settings: dict[str, Any]) -> None:
        self.made.append(self)
        self.assigned: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()

    def list_topics(self, topic: str, timeout: float) -> None:
        """Who leads it is looked up before it is assigned."""

    def incremental_assign(self, addresses: list[Address]) -> None:
        self.assigned |= {TopicPartition(one.topic, one.partition): one.offset for one in addresses}

    def pause(self, addresses: list[Address]) -> None:
        self.paused |= {TopicPartition(one.topic, one.partition) for one in addresses}

    def committed(self, addresses: list[Address], timeout: float) -> list[Address]:
        if self.trouble is not None:
            raise KafkaException(KafkaError(self.trouble))
        return [Address(one.topic, one.partition, 7) for one in addresses]

    def close(self) -> None:
        pass


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> InputConsumer:
    monkeypatch.setattr(FakeConsumer, "made", [], raising=False)
    monkeypatch.setattr(consumer, "Consumer", FakeConsumer)
    made = InputConsumer(Config(application_id="shop"))
    made.add({A: 3, B: 5})
    made.pause([B])
    return made


def test_without_an_answer_the_next_question_is_another_clients(
    reader: InputConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeConsumer.made[0], "trouble", KafkaError._TIMED_OUT, raising=False)
    with pytest.raises(KafkaUnavailableError):
        reader.committed([A])
    assert reader.committed([A])[A].position == 7
    _, fresh = FakeConsumer.made
    assert (fresh.assigned, fresh.paused) == ({A: 3, B: 5}, {B})


def test_a_client_that_is_refused_is_kept(
    reader: InputConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeConsumer, "trouble", KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(ConfigError):
        reader.committed([A])
    assert len(FakeConsumer.made) == 1
