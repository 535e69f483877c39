"""Who is asked for positions while a broker is away that led some of the partitions."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition as Address

from streamer.config import Config
from streamer.errors import KafkaUnavailableError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.table import TableReader

CONFIG = Config(application_id="app", bootstrap_servers="127.0.0.1:9")
# What librdkafka answers for a partition whose leader, as it remembers it, is away; and no error.
NOTHING = -1001


class Client:
    """An admin client of two partitions, who takes the first one's leader to be the dead one until
    somebody has it look."""

    def __init__(self) -> None:
        self.looked = 0
        self.asked_s: list[float] = []

    def list_offsets(
        self, request: dict[Address, Any], *, request_timeout: float, **_given: Any
    ) -> dict[Address, Future[Any]]:
        self.asked_s.append(request_timeout)
        found = {}
        for address in request:
            is_away = address.partition == 0 and not self.looked
            answer: Future[Any] = Future()
            answer.set_result(SimpleNamespace(offset=NOTHING if is_away else 7))
            found[address] = answer
        return found

    def list_topics(self, topic: str, *, timeout: float) -> None:
        assert (topic, timeout > 0) == ("t", True)
        self.looked += 1

    def poll(self, _timeout: float) -> int:
        return 0


def admin_of(client: Client, *, timeout_s: float) -> Admin:
    admin = Admin(CONFIG, timeout_s=timeout_s)
    admin._client = client
    return admin


@pytest.mark.parametrize("question", ["ends", "starts"])
def test_who_leads_now_is_looked_up_where_nobody_answers(question: str) -> None:
    client = Client()
    places = [TopicPartition("t", 0), TopicPartition("t", 1)]
    admin = admin_of(client, timeout_s=60)
    assert getattr(admin, question)(places) == dict.fromkeys(places, 7)
    assert client.looked == 1
    # A dead leader is not waited for long, and an answer that was lost even less.
    assert client.asked_s == [1.0, 3.0]


@pytest.mark.slow
def test_no_answer_is_never_taken_for_a_position() -> None:
    client = Client()
    client.list_topics = lambda *_given, **_named: None  # type: ignore[method-assign]
    with pytest.raises(KafkaUnavailableError, match="nobody answers for t/0"):
        admin_of(client, timeout_s=0.5).ends([TopicPartition("t", 0), TopicPartition("t", 1)])


def test_a_table_is_not_read_to_an_end_that_nobody_knows() -> None:
    place = TopicPartition("t", 0)
    reader = TableReader(CONFIG, [place])
    try:
        with pytest.raises(KafkaUnavailableError, match="ends is not known"):
            reader.read_to({place: NOTHING}, timeout_s=5)
    finally:
        reader.close()
