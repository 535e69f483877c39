"""A new client is told of topics before it needs to know them, once, and never for long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamer.config import Config
from streamer.ids import TopicPartition
from streamer.kafka import changelog, consumer, lookup
from streamer.kafka.changelog import ChangelogConsumer
from streamer.kafka.consumer import InputConsumer
from streamer.kafka.lookup import LookedUp, look_up

CONFIG = Config(application_id="spend", worker_id="w1")
A, B = TopicPartition("a", 0), TopicPartition("b", 0)


def looked(client: MagicMock) -> list[Any]:
    return [one.args[0] for one in client.list_topics.call_args_list]


def test_trouble_is_left_to_what_follows() -> None:
    client = MagicMock()
    client.list_topics.side_effect = KafkaException(KafkaError(KafkaError._TRANSPORT))
    look_up(client, ["a", "b"])
    assert looked(client) == ["a"], "the others would have the same trouble"


def test_all_topics_together_have_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    client = MagicMock()
    monkeypatch.setattr(lookup.time, "monotonic", lambda: now[0])
    client.list_topics.side_effect = lambda *_, timeout: now.__setitem__(0, now[0] + timeout * 0.6)
    look_up(client, ["a", "b", "c"])
    waits = [one.kwargs["timeout"] for one in client.list_topics.call_args_list]
    assert sum(waited * 0.6 for waited in waits) < 1.0
    assert waits == sorted(waits, reverse=True)


@pytest.mark.parametrize(
    ("module", "made"), [(consumer, InputConsumer), (changelog, ChangelogConsumer)]
)
def test_a_reader_looks_each_topic_up_once_before_it_has_its_partition(
    module: Any, made: Callable[[Config], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MagicMock()
    monkeypatch.setattr(module, "Consumer", lambda _settings: client)
    reader = made(CONFIG)
    reader.add({A: 3})
    names = [name for name, *_rest in client.method_calls]
    assert names.index("list_topics") < names.index("incremental_assign")
    reader.add({A: 4, B: 0})
    reader.remove([A])
    reader.add({A: 4})
    assert looked(client) == ["a", "b"]


def test_who_takes_a_clients_place_looks_up_for_itself() -> None:
    first, second = MagicMock(), MagicMock()
    known = LookedUp()
    known.ensure(first, ["a"])
    known.ensure(second, ["a"])
    known.ensure(second, ["a", "b"])
    assert (looked(first), looked(second)) == (["a"], ["a", "b"])
