"""A coordinator whose broker has died has a successor some seconds later, which is waited for. A
client that has lost its coordinator for good is given up after that."""

from __future__ import annotations

import threading
from typing import Any
from unittest.mock import MagicMock

import pytest

from streamer.errors import FencedError
from streamer.ids import TopicPartition
from streamer.kafka import writer
from streamer.kafka.api import Committed
from streamer.kafka.writer import Writer

ADD_S = 0.2
POSITIONS = {TopicPartition("in", 0): Committed(7)}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    made = MagicMock()
    made.__len__.return_value = 0
    monkeypatch.setattr(writer, "Producer", lambda _settings: made)
    monkeypatch.setattr(writer, "_ADD_S", ADD_S)
    return made


def made() -> Writer:
    return Writer({"bootstrap.servers": "here:9092"}, "app-w1")


@pytest.mark.slow
def test_a_new_coordinator_is_waited_for(client: MagicMock) -> None:
    is_back = threading.Event()

    def ask(**_given: Any) -> None:
        if client.list_topics.call_count == 2:
            is_back.set()

    client.list_topics.side_effect = ask
    client.send_offsets_to_transaction.side_effect = lambda *_given: is_back.wait(30)
    made().commit(POSITIONS, "group")
    assert is_back.is_set()
    client.commit_transaction.assert_called_once()


@pytest.mark.slow
def test_a_client_that_waits_for_ever_is_given_up(client: MagicMock) -> None:
    never = threading.Event()
    client.send_offsets_to_transaction.side_effect = lambda *_given: never.wait(30)
    with pytest.raises(FencedError, match="though brokers answer"):
        made().commit(POSITIONS, "group")
    never.set()
    assert client.list_topics.call_count == 3
    client.commit_transaction.assert_not_called()
