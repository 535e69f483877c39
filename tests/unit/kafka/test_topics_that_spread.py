"""Brokers learn of a new topic one after the other, and each question may go to another one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection

from streamer.config import Config
from streamer.errors import TopicMissingError
from streamer.kafka import admin as admin_module
from streamer.kafka.admin import Admin, TopicSpec

CONFIG = Config(application_id="app", bootstrap_servers="127.0.0.1:9")


class Client:
    """An admin client. Of each question it asks the next broker: that one knows these topics."""

    def __init__(self, *knowing: set[str]) -> None:
        self._knowing: Iterator[set[str]] = iter(knowing)
        self._last: set[str] = set()
        self.asked = 0

    def describe_topics(self, topics: TopicCollection, **_given: Any) -> dict[str, Future[Any]]:
        self.asked += 1
        self._last = next(self._knowing, self._last)
        return {topic: self._answer(topic) for topic in topics.topic_names}

    def _answer(self, topic: str) -> Future[Any]:
        answer: Future[Any] = Future()
        if topic in self._last:
            answer.set_result(SimpleNamespace(partitions=[0, 1], topic_id=None))
        else:
            unknown = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
            answer.set_exception(KafkaException(unknown))
        return answer

    def create_topics(self, topics: list[Any], **_given: Any) -> dict[str, Future[Any]]:
        made: Future[Any] = Future()
        made.set_result(None)
        return {one.topic: made for one in topics}

    def poll(self, _timeout: float) -> int:
        return 0


def admin_of(client: Client) -> Admin:
    admin = Admin(CONFIG, timeout_s=5)
    admin._client = client
    return admin


@pytest.mark.slow
def test_what_was_created_is_there_for_who_asks_a_broker_that_has_not_heard_of_it() -> None:
    client = Client(set(), {"t"}, set(), set(), {"t"})
    admin = admin_of(client)
    admin.create([TopicSpec("t", 2)])
    assert admin.partitions(["t"]) == {"t": 2}
    assert client.asked == 5


def test_what_one_broker_has_told_of_is_waited_for_at_the_next_one() -> None:
    admin = admin_of(Client({"t"}, set(), {"t"}))
    assert admin.partitions(["t"]) == {"t": 2}
    assert admin.partitions(["t"]) == {"t": 2}


def test_what_nobody_has_told_of_is_missing_at_once() -> None:
    client = Client({"t"})
    with pytest.raises(TopicMissingError, match="does not exist: u"):
        admin_of(client).partitions(["t", "u"])
    assert client.asked == 1


@pytest.mark.slow
def test_what_was_deleted_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_module, "_SPREAD_S", 0.3)
    client = Client({"t"}, set())
    admin = admin_of(client)
    admin.partitions(["t"])
    with pytest.raises(TopicMissingError):
        admin.partitions(["t"])
    waited = client.asked
    with pytest.raises(TopicMissingError):
        admin.partitions(["t"])
    assert (waited > 2, client.asked) == (True, waited + 1)
