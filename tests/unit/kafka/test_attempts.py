"""Which trouble is worth another try, and what is said when there was none left."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamer.errors import (
    ConfigError,
    FencedError,
    KafkaUnavailableError,
    StoppedError,
    TopicMissingError,
)
from streamer.kafka import attempts
from streamer.kafka.attempts import PAUSE_S, Attempts


class Broker:
    """Fails with these codes, one per call, and then answers 7."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.calls = 0

    def __call__(self, left_s: float) -> int:
        self.calls += 1
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return 7


@pytest.mark.slow
def test_passing_trouble_is_tried_again() -> None:
    broker = Broker(KafkaError._TRANSPORT, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
    assert Attempts(10, "b:1")("asking", broker) == 7
    assert broker.calls == 3


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.GROUP_AUTHORIZATION_FAILED, ConfigError),
        (KafkaError._AUTHENTICATION, ConfigError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, TopicMissingError),
        (KafkaError._FENCED, FencedError),
        (KafkaError.INVALID_REQUEST, KafkaUnavailableError),
    ],
)
def test_what_no_repetition_mends_is_said_at_once(code: int, kind: type[Exception]) -> None:
    broker = Broker(code)
    with pytest.raises(kind, match="asking: "):
        Attempts(10, "b:1")("asking", broker)
    assert broker.calls == 1


@pytest.mark.slow
def test_the_deadline_says_what_was_tried() -> None:
    broker = Broker(*[KafkaError._TRANSPORT] * 100)
    with pytest.raises(KafkaUnavailableError, match=r"asking: tried \d times in .* at b:1: ") as up:
        Attempts(2.5 * PAUSE_S, "b:1")("asking", broker)
    assert 2 <= broker.calls <= 3
    assert "bootstrap_servers" in up.value.hint


def test_an_error_behind_the_bindings_own_is_found() -> None:
    def call(left_s: float) -> int:
        raise SystemError("returned a result with an exception set") from KafkaException(
            KafkaError(KafkaError._FENCED)
        )

    with pytest.raises(FencedError):
        Attempts(10, "b:1")("asking", call)


def test_a_system_error_of_another_kind_is_not_swallowed() -> None:
    def call(left_s: float) -> int:
        raise SystemError("something else")

    with pytest.raises(SystemError, match="something else"):
        Attempts(10, "b:1")("asking", call)


class Away:
    """Never answers, and takes as long as it may by a clock that moves with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, stops_after: int) -> None:
        self.stopping = threading.Event()
        self.asked: list[float] = []
        self._stops_after = stops_after
        self._now_s = 0.0
        monkeypatch.setattr(attempts.time, "monotonic", lambda: self._now_s)

    def __call__(self, left_s: float) -> None:
        self.asked.append(left_s)
        self._now_s += left_s
        if len(self.asked) == self._stops_after:
            self.stopping.set()
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))


@pytest.mark.slow
def test_who_is_asked_to_stop_does_not_wait_for_brokers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = Away(monkeypatch, stops_after=4)
    with pytest.raises(StoppedError, match=r"looking up in: asked to stop .* brokers at b:1"):
        Attempts(60, "b:1", stopping=away.stopping)("looking up in", away)
    # No request waits for longer than a stop may take.
    assert away.asked == [2.0] * 4
    [line] = caplog.messages
    assert line.startswith("waiting for brokers at b:1, looking up in: ")


def test_who_was_asked_before_asks_nothing() -> None:
    stopping, broker = threading.Event(), Broker()
    stopping.set()
    with pytest.raises(StoppedError):
        Attempts(60, "b:1", stopping=stopping)("asking", broker)
    assert broker.calls == 0
