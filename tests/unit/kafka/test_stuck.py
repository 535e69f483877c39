"""A client is given up only where brokers answer another one, and not it, more than once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest

from streamer.config import Config
from streamer.errors import FencedError, KafkaUnavailableError
from streamer.ids import TopicPartition
from streamer.kafka.changelog import ChangelogConsumer
from streamer.kafka.consumer import InputConsumer
from streamer.kafka.group import Membership
from streamer.kafka.stuck import Stuck, answers_others, let_go
from streamer.kafka.table import TableReader, TableWriter
from streamer.kafka.writer import Writer


class Asked:
    """Two clients, each of which is answered or not; time passes by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self.here = self.elsewhere = False
        self.count = 0
        monkeypatch.setattr("streamer.kafka.stuck.time.monotonic", lambda: self.now_s)
        self.stuck = Stuck(self._ask_here, lambda: self.elsewhere)

    def _ask_here(self) -> bool:
        self.count += 1
        return self.here

    def wait(self, seconds: int) -> None:
        for _ in range(seconds * 5):
            self.now_s += 0.2
            self.stuck.check("writing")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def test_nobody_is_asked_while_records_move(asked: Asked) -> None:
    asked.elsewhere = True
    for _ in range(10):
        asked.wait(4)
        asked.stuck.moved()
    assert asked.count == 0


def test_a_client_that_is_answered_or_alike_with_others_is_waited_for(asked: Asked) -> None:
    asked.wait(60)
    asked.here = asked.elsewhere = True
    asked.wait(60)
    assert asked.count > 10


def test_one_that_alone_is_not_answered_is_given_up_at_the_second_time(asked: Asked) -> None:
    asked.wait(30)
    asked.elsewhere = True
    asked.wait(4)
    with pytest.raises(FencedError, match="writing: brokers answer other clients") as raised:
        asked.wait(7)
    assert "with a new producer" in raised.value.hint


@pytest.mark.slow
def test_brokers_that_are_away_answer_nobody() -> None:
    made = {"bootstrap.servers": "127.0.0.1:1", "transactional.id": "a", "log_level": 0}
    assert not answers_others(made)


@pytest.mark.slow
@pytest.mark.parametrize("wait", ["flush", "wait_until"])
def test_whoever_waits_for_deliveries_finds_out(wait: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    monkeypatch.setattr("streamer.kafka.stuck._STILL_S", 0.1)
    monkeypatch.setattr("streamer.kafka.writer.ANSWER_S", 0.1)
    monkeypatch.setattr("streamer.kafka.writer.answers_others", lambda given: given is made)
    writer = Writer(made, None)
    writer.produce("t", b"value")
    waiting = {"flush": writer.flush, "wait_until": lambda: writer.wait_until(lambda _left: False)}
    with pytest.raises(FencedError, match="not this one"):
        waiting[wait]()
    assert len(writer) >= 1
    writer.close(drops=True)


FIRST, SECOND = (TopicPartition("t", number) for number in (0, 1))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """Of a client that no broker answers, where others are answered."""
    monkeypatch.setattr("streamer.kafka.stuck._STILL_S", 0.02)
    monkeypatch.setattr("streamer.kafka.stuck._QUIET_S", 0.1)
    monkeypatch.setattr("streamer.kafka.stuck.ANSWER_S", 0.02)
    monkeypatch.setattr("streamer.kafka.stuck.answers_others", lambda _made: True)
    logger = logging.getLogger("streamer.kafka.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield Config(application_id="app", bootstrap_servers="127.0.0.1:1")
    logger.setLevel(level)


def until_another(owner: Any, name: str, turn: Callable[[], object]) -> Any:
    """Turn until the owner has another client; that one."""
    first, deadline = getattr(owner, name), time.monotonic() + 30
    while getattr(owner, name) is first:
        assert time.monotonic() < deadline
        turn()
        time.sleep(0.002)  # a full queue would refuse the next row
    return getattr(owner, name)


def assigned(client: Any) -> set[tuple[str, int, int]]:
    return {(one.topic, one.partition, one.offset) for one in client.assignment()}


@pytest.mark.slow
def test_input_goes_on_where_it_was_with_another_client(alone: Config) -> None:
    reader = InputConsumer(alone)
    reader.add({FIRST: 5, SECOND: 7})
    reader.remove([SECOND])
    reader.add({SECOND: 9})
    reader.pause([SECOND])
    fresh = until_another(reader, "_consumer", lambda: reader.fetch(10, 10))
    assert assigned(fresh) == {("t", 0, 5), ("t", 1, 9)}
    assert reader.known_end(FIRST) < 0
    reader.close()


@pytest.mark.slow
def test_restores_go_on_where_they_were_with_another_client(alone: Config) -> None:
    reader = ChangelogConsumer(alone)
    reader.add({FIRST: 5, SECOND: 7})
    reader.remove([FIRST])
    fresh = until_another(reader, "_consumer", lambda: reader.fetch(10, 10))
    assert assigned(fresh) == {("t", 1, 7)}
    reader.close()


@pytest.mark.slow
def test_a_table_is_read_and_written_with_another_client(
    alone: Config, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = TableReader(alone, [FIRST, SECOND]), TableWriter(alone)
    until_another(reader, "_consumer", lambda: reader.read(0.01))
    writer.put(FIRST, "a", b"1")
    writer.put(FIRST, "a", b"2")
    writer.put(SECOND, "b", b"1")
    fresh = until_another(writer, "_producer", lambda: writer.put(SECOND, "b", b"2"))
    assert len(fresh) >= 3  # the last ones of both keys, and the one that was put
    said = [one.getMessage() for one in caplog.records if one.name == "streamer.kafka.stuck"]
    other = "brokers answer other clients, but not this one: it is replaced"
    assert said == [f"reading t: {other}", f"writing control records: {other}"]
    reader.close()
    writer.close()


def test_a_member_asks_to_be_made_anew(alone: Config) -> None:
    member = Membership.of_candidate(alone, client_id="a")
    deadline = time.monotonic() + 30

    def live() -> None:
        while time.monotonic() < deadline:
            member.poll(0.01)

    with pytest.raises(KafkaUnavailableError, match="lost its brokers"):
        live()
    member.close()


def test_who_reads_nothing_is_not_asked(alone: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("streamer.kafka.stuck.answers_others", asked.append)
    reader = InputConsumer(alone)
    client = reader._consumer
    for _ in range(30):
        reader.fetch(10, 10)
    assert (asked, reader._consumer) == ([], client)
    reader.close()


def test_whoever_hears_news_does_not_wait_for_an_answer(alone: Config) -> None:
    """With several brokers the question may stand behind a fetch of one, and news be at another."""
    answered, asked = threading.Event(), threading.Event()

    def ask() -> bool:
        asked.set()
        return answered.wait(30)

    one = Stuck(ask, lambda: True, still_s=0.0, beside=True)
    assert not one.is_to_replace("reading")
    assert asked.wait(30)
    began = time.monotonic()
    for _ in range(100):
        assert not one.is_to_replace("reading")
    assert time.monotonic() - began < 10
    assert one.looking is not None
    one.moved()  # News came: whatever the answer is, it is about a client that is well.
    answered.set()
    one._look.done.wait(30)  # type: ignore[union-attr]
    assert one.looking is None
    assert not one.is_to_replace("reading")


def test_a_client_is_not_closed_while_it_is_asked_beside() -> None:
    asking, client = threading.Event(), MagicMock()
    look = threading.Thread(target=asking.wait, args=(30,))
    look.start()
    closed = threading.Event()
    client.close.side_effect = closed.set
    let_go(client, after=look)
    assert not closed.wait(0.05)
    asking.set()
    assert closed.wait(30)
