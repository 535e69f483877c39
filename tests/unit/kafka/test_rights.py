"""A missing right is told by its name and what it is on, a closed door by the brokers' words."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamer.config import Config
from streamer.errors import ConfigError, KafkaUnavailableError
from streamer.ids import TopicPartition
from streamer.kafka import entry
from streamer.kafka.admin import Admin
from streamer.kafka.api import AbortableError
from streamer.kafka.attempts import Attempts
from streamer.kafka.faults import is_denied_topic, producer_fault, translated
from streamer.kafka.rights import on_group, on_id, on_topics, refusal

TOPIC = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
GROUP = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)
ID = KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
PASSWORD = KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: wrong")
CERTIFICATE = KafkaError(KafkaError._SSL, "certificate verify failed")
GONE = KafkaError(KafkaError._TRANSPORT, "Connection refused")


@pytest.mark.parametrize(
    ("error", "said", "command"),
    [
        (TOPIC, "Read on topic in is not granted", "--operation Read --topic in "),
        (GROUP, "Describe on group spend is not granted", "--operation Describe --group spend "),
        (
            ID,
            "Write on transactional id spend-w1 is not granted",
            "--operation Write --transactional-id spend-w1 ",
        ),
    ],
)
def test_the_right_that_is_missing_is_the_one_of_the_kind_that_is_guarded(
    error: KafkaError, said: str, command: str
) -> None:
    needed = on_topics("Read", ["in"]), on_group("Describe", "spend"), on_id("spend-w1")
    problem = refusal(error, "asking", *needed)
    assert isinstance(problem, ConfigError)
    assert str(problem).startswith(f"asking: {said} (Broker: ")
    assert command in problem.hint


def test_of_several_things_all_are_named() -> None:
    problem = refusal(TOPIC, "asking", on_topics("Describe", ["b", "a", "b"]))
    assert "Describe on one of the topics a, b is not granted" in str(problem)
    assert problem is not None
    assert "--topic a --topic b" in problem.hint


def test_where_nobody_said_what_it_needs_the_broker_is_quoted() -> None:
    problem = refusal(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED), "asking")
    assert "asking: Broker: Cluster authorization failed" in str(problem)
    assert problem is not None
    assert "docs/security.md" in problem.hint
    assert refusal(GONE, "asking") is None


def test_a_denied_topic_of_a_transaction_is_looked_for_by_another_try() -> None:
    denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, txn_requires_abort=True)
    problem = translated(KafkaException(denied), "committing")
    assert isinstance(problem, AbortableError)
    problem = translated(KafkaException(denied), "adding positions", on_topics("Read", ["in"]))
    assert isinstance(problem, ConfigError)


def test_a_call_that_is_told_of_topics_written_before_it_is_not_what_was_denied() -> None:
    denied = KafkaError(
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        "Failed to add partition(s) to transaction on broker TxnCoordinator/1: Broker: Topic"
        " authorization failed (after 1 ms)",
        txn_requires_abort=True,
    )
    problem = translated(KafkaException(denied), "adding positions", on_topics("Read", ["in"]))
    assert isinstance(problem, AbortableError)
    problem.__cause__ = KafkaException(denied)
    assert is_denied_topic(problem)
    problem = translated(KafkaException(denied), "writing", on_topics("Write", ["out"]))
    assert "Write on topic out is not granted" in str(problem)


def test_a_denied_transactional_id_is_no_fence() -> None:
    denied = KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True)
    problem = producer_fault(KafkaException(denied), "beginning")
    assert isinstance(problem, ConfigError)


def test_what_is_denied_is_named_where_the_broker_names_it() -> None:
    said = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "in-2[0](Topic authorization failed)")
    problem = refusal(said, "asking", on_topics("Read", ["in", "in-2", "in-20"]))
    assert "Read on topic in-2 is not granted" in str(problem)


def test_a_denied_topic_is_seen_through_the_errors_that_were_raised_for_it() -> None:
    error = AbortableError("the transaction failed")
    error.__cause__ = SystemError("behind a fatal one")
    error.__cause__.__cause__ = KafkaException(TOPIC)
    assert is_denied_topic(error)
    assert not is_denied_topic(KafkaException(GROUP))
    assert not is_denied_topic(AbortableError("another"))


def test_a_question_for_positions_hears_that_it_is_not_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = MagicMock()
    client.committed.side_effect = KafkaException(KafkaError(KafkaError._TIMED_OUT))
    client.poll.return_value.error.return_value = GROUP
    monkeypatch.setattr("streamer.kafka.positions.Consumer", lambda _settings: client)
    with pytest.raises(ConfigError, match="Describe on group g is not granted"):
        Admin(Config(application_id="spend")).committed("g", [TopicPartition("in", 0)])
    client.close.assert_called_once()


# -- what only callbacks hear ----------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set."""
    now = [100.0]
    monkeypatch.setattr(entry.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(entry.time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr(entry, "_troubles", {})
    return now


class Deaf:
    """A client whose requests time out, and which hears something whenever it is served."""

    def __init__(self, clock: list[float], *heard: KafkaError) -> None:
        self._clock = clock
        self._heard = list(heard)
        self._tell = entry.listener("b:1")

    def ask(self, left_s: float) -> None:
        self._clock[0] += min(left_s, 2.0)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def poll(self, _timeout_s: float) -> None:
        if self._heard:
            self._tell(self._heard.pop(0))


@pytest.mark.parametrize("reason", [PASSWORD, CERTIFICATE], ids=["password", "certificate"])
def test_a_client_that_is_turned_away_again_and_again_says_why(
    clock: list[float], reason: KafkaError
) -> None:
    client = Deaf(clock, *[reason] * 9)
    with pytest.raises(ConfigError, match="the brokers do not let this client in") as raised:
        Attempts(60, "b:1", client=lambda: client)("asking", client.ask)
    assert reason.str() in str(raised.value)
    assert "sasl.*, ssl.*" in raised.value.hint
    assert clock[0] < 110


def test_one_refusal_between_others_is_a_broker_that_stops(clock: list[float]) -> None:
    client = Deaf(clock, *[PASSWORD, PASSWORD, GONE] * 20)
    with pytest.raises(KafkaUnavailableError, match=r"asking: tried \d+ times in 60 s at b:1: "):
        Attempts(60, "b:1", client=lambda: client)("asking", client.ask)


def test_a_refusal_of_long_ago_counts_for_nothing(clock: list[float]) -> None:
    heard = entry.listener("b:1")
    for _ in range(5):
        heard(PASSWORD)
    assert entry.turned_away("b:1", since_s=99) == PASSWORD.str()
    assert entry.turned_away("b:1", since_s=101) == ""
    assert entry.turned_away("b:2", since_s=0) == ""
    clock[0] += 6
    assert entry.turned_away("b:1", since_s=99) == ""


def test_the_last_reason_is_told_with_what_was_tried(clock: list[float]) -> None:
    client = Deaf(clock, GONE, KafkaError(KafkaError._ALL_BROKERS_DOWN))
    with pytest.raises(KafkaUnavailableError, match="at b:1: Connection refused"):
        Attempts(60, "b:1", client=lambda: client)("asking", client.ask)
