"""What reports of deliveries add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError

from streamer.errors import TopicMissingError
from streamer.ids import TopicPartition
from streamer.kafka.deliveries import Deliveries
from streamer.kafka.refusals import Refusals

TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
MISSING = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
PLACE = TopicPartition("t", 3)
TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)


@dataclass
class Report:
    """A message as the client hands it to a callback: its fields are functions."""

    size: int = 1
    place: TopicPartition = PLACE
    at: int = 7
    extra: list[tuple[str, bytes]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        topic, partition = self.place
        fields = {"topic": topic, "partition": partition, "offset": self.at, "key": b"k"}
        return lambda: (fields | {"value": b"x" * self.size, "headers": self.extra or None})[name]


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
    for report in (Report(100), Report(1_000), Report(900), Report(900, extra=[("a", b"b" * 99)])):
        found.reported(TOO_LARGE, report)
    assert (found.refused, refusals.count) == (2, 2)
    assert "records that fit its 1000 bytes" in found.doubt
    assert found.is_refused
    assert found.failure is None
    found.begin()
    assert not found.has_failed
    assert refusals.count == 2
