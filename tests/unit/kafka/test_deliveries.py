"""What reports of deliveries add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError

from streamer.errors import ConfigError, TopicMissingError
from streamer.ids import TopicPartition
from streamer.kafka.api import AbortableError
from streamer.kafka.deliveries import Deliveries
from streamer.kafka.diagnosis import raise_reason
from streamer.kafka.refusals import Refusals

TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
MISSING = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
PLACE = TopicPartition("t", 3)
TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)


@dataclass
class Report:
    """A message as the client hands it to a callback: its fields are functions, and headers are
    never among them."""

    size: int = 1
    place: TopicPartition = PLACE
    at: int = 7

    def __getattr__(self, name: str) -> Any:
        topic, partition = self.place
        fields = {"topic": topic, "partition": partition, "offset": self.at, "key": b"k"}
        return lambda: (fields | {"value": b"x" * self.size, "headers": None})[name]


def deliveries() -> tuple[Any, Refusals]:
    refusals = Refusals(lambda: {"t": 1_000}, {})
    return Deliveries(refusals), refusals


def test_the_last_change_tells_where_a_changelog_ends() -> None:
    found, _ = deliveries()
    found.delivered(None, Report())
    found.delivered(None, Report(place=TopicPartition("u", 0), at=1))
    found.delivered(MISSING, Report(place=TopicPartition("v", 0)))
    assert found.ends == {PLACE: 8, TopicPartition("u", 0): 2}
    found.begin()
    assert found.ends == {}


def test_the_first_failure_is_kept_and_names_the_record() -> None:
    found, _ = deliveries()
    found.reported(None, Report())
    assert not found.has_failed
    found.reported(MISSING, Report())
    found.reported(TIMED_OUT, Report())
    assert isinstance(found.failure, TopicMissingError)
    assert "writing 2 bytes to t, key b'k'" in str(found.failure)
    assert found.has_failed
    assert not found.is_refused


def test_what_a_purge_has_dropped_has_failed_without_a_reason() -> None:
    found, _ = deliveries()
    found.reported(KafkaError(KafkaError._PURGE_QUEUE), Report())
    assert found.has_failed
    assert found.failure is None
    assert not found.is_refused


def test_of_a_refused_batch_only_a_record_that_is_too_large_itself_is_remembered() -> None:
    found, refusals = deliveries()
    for report in (Report(100), Report(1_000), Report(900), Report(1_001)):
        found.reported(TOO_LARGE, report)
    assert (found.refused, refusals.count) == (2, 2)
    assert "records that fit its 1000 bytes" in found.doubt
    assert found.is_refused
    assert found.failure is None
    found.begin()
    assert not found.has_failed
    assert refusals.count == 2


INVALID = KafkaError(KafkaError.INVALID_RECORD)
TOO_EARLY = KafkaError(KafkaError.INVALID_TIMESTAMP)
BESIDE = KafkaError(KafkaError._INVALID_DIFFERENT_RECORD)
DENIED = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)


def test_a_record_of_a_batch_that_was_refused_is_but_a_suspect() -> None:
    found, refusals = deliveries()
    for error in (INVALID, BESIDE, INVALID):
        found.reported(error, Report())
    assert found.refused == 1
    assert found.failure is None
    # A suspect that is refused again, in another transaction, has failed all the same.
    found.begin()
    found.reported(INVALID, Report())
    assert found.refused == 0
    assert found.has_failed
    assert refusals.is_suspect("t", b"k", b"x")
    assert not refusals.is_suspect("t", None, b"x")
    assert refusals.count == 0
    refusals.acquit("t", b"k", b"x")
    assert not refusals.is_suspect("t", b"k", b"x")


@pytest.mark.parametrize(("code", "elsewhen"), [(INVALID, True), (TOO_EARLY, False)])
def test_a_record_that_was_refused_alone_is_at_fault_by_its_time_only_where_that_is_the_reason(
    code: KafkaError, elsewhen: bool
) -> None:
    found, refusals = deliveries()
    found.begin_alone()
    found.reported(code, Report())
    assert found.refusal is code
    assert not found.has_failed
    sent = ("t", None, b"x", None, 5)
    problem = refusals.convict(sent, code)
    assert str(problem) == f"writing 1 bytes to t, key None, timestamp 5: {code.str()}"
    assert "takes no record without a key" in problem.hint
    assert refusals.convicted(sent) is problem
    assert refusals.convicted(("t", None, b"x", [("h", b"v")], 5)) is problem
    assert (refusals.convicted(("t", None, b"x", None, 6)) is problem) == elsewhen
    assert refusals.count == 1
    refusals.committed()
    assert refusals.convicted(sent) is None


def test_a_topic_that_may_not_be_written_is_said_by_name_and_no_record_is_at_fault() -> None:
    found, refusals = deliveries()
    found.reported(DENIED, Report())
    found.reported(DENIED, Report())
    assert found.refused == 1
    with pytest.raises(ConfigError, match="to t, key") as raised:
        refusals.check("t")
    assert "--operation Write --topic t" in raised.value.hint
    refusals.check("u")
    assert refusals.count == 0


def test_tries_that_tell_nothing_of_any_record_come_to_an_end() -> None:
    _, refusals = deliveries()
    for _ in range(5):
        refusals.tried()
    assert not refusals.is_fruitless
    refusals.tried()
    assert refusals.is_fruitless
    refusals.acquit("t", b"k", b"x")
    assert not refusals.is_fruitless


def test_a_transaction_that_failed_since_brokers_were_away_is_done_again() -> None:
    found, refusals = deliveries()
    found.reported(TIMED_OUT, Report())
    error = AbortableError("1 message(s) timed out on t [3]")
    with pytest.raises(AbortableError, match=r"writing .* to t, .*timed out"):
        raise_reason(error, found, refusals, was_reported=True)
    # Nothing brings back a topic that is gone.
    found.begin()
    found.reported(MISSING, Report())
    with pytest.raises(TopicMissingError):
        raise_reason(error, found, refusals, was_reported=True)
