"""A client is given up only where brokers answer another one, and not it, more than once."""

from __future__ import annotations

import pytest

from streamer.errors import FencedError
from streamer.kafka.stuck import Stuck, answers_others
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


def test_brokers_that_are_away_answer_nobody() -> None:
    made = {"bootstrap.servers": "127.0.0.1:1", "transactional.id": "a", "log_level": 0}
    assert not answers_others(made)


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
