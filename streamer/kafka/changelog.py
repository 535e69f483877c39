"""Reads changelogs for restores and standbys: assigned positions, committed records, exact ends.

The end of a changelog is its high watermark, not what is readable now: the markers of a commit
reach partitions at different times, and a restore that stopped at the last stable offset could miss
the latest transaction. Reading is complete when the reader's position reaches that end, which
counts markers and aborted records too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Address

from streamer.config import Config
from streamer.errors import StreamerError
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.admin import Admin
from streamer.kafka.faults import translated
from streamer.kafka.lookup import LookedUp
from streamer.kafka.rights import is_only_the_group, on_topics
from streamer.kafka.stuck import let_go, stuck

__all__ = ["Bounds", "ChangelogConsumer", "Fetched", "Records"]

_log = logging.getLogger(__name__)
# Short: other restores wait meanwhile, and whoever asks tries again.
_BOUNDS_TIMEOUT_S = 5.0
_OUT_OF_RANGE = (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET)
_offset: Any = Message.offset


class Bounds(NamedTuple):
    """First offset and end of a partition, open transactions included, and its topic's id."""

    start: int
    end: int
    topic_id: str = ""


class Records(NamedTuple):
    """Consecutive records of one partition; `position` is the next to read after them."""

    place: TopicPartition
    keys: list[Any]
    values: list[Any]
    offsets: list[int]

    @property
    def position(self) -> int:
        return self.offsets[-1] + 1


@dataclass(slots=True)
class Fetched:
    """What one fetch brought. `at_end`: where the reader stands in partitions read to the end."""

    records: list[Records] = field(default_factory=list)
    at_end: dict[TopicPartition, int] = field(default_factory=dict)
    out_of_range: set[TopicPartition] = field(default_factory=set)
    failures: dict[TopicPartition, StreamerError] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(len(one.offsets) for one in self.records)

    def with_(self, other: Fetched) -> Fetched:
        """Together with what was fetched of other partitions."""
        return Fetched(
            self.records + other.records,
            self.at_end | other.at_end,
            self.out_of_range | other.out_of_range,
            self.failures | other.failures,
        )


class ChangelogConsumer:
    """Used by one thread. A `standby` reads for ever, and is in no hurry."""

    def __init__(self, config: Config, *, standby: bool = False) -> None:
        self._config = config
        made = settings.standby_consumer if standby else settings.restore_consumer
        self._settings = made(config)
        self._consumer = Consumer(self._settings)
        self._at: dict[TopicPartition, int] = {}
        self._looked_up = LookedUp()
        self._stuck = stuck(config, lambda: self._consumer, lambda: next(iter(self._at)).topic)

    @cached_property
    def _admin(self) -> Admin:
        return Admin(self._config, timeout_s=_BOUNDS_TIMEOUT_S)

    def bounds(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Ask the brokers. Raises TopicMissingError, or KafkaUnavailableError after seconds."""
        # Before it has a broker, the client now and then loses a question for positions, and asks
        # again after a second: each task of a worker that begins waits behind it.
        self._admin.partitions(sorted({place.topic for place in places}))
        starts = self._admin.starts(places)
        ends = self._admin.ends(places, "read_uncommitted")
        # Last, so that positions are not taken for those of a topic that was made anew meanwhile.
        ids = self._admin.topic_ids([place.topic for place in places])
        return {
            place: Bounds(starts[place], ends[place], ids.get(place.topic, "")) for place in places
        }

    def add(self, positions: Mapping[TopicPartition, int]) -> None:
        """Begin to read these partitions at these positions."""
        if not self._at:
            self._stuck.moved()
        self._at.update(positions)
        self._looked_up.ensure(self._consumer, (place.topic for place in positions))
        self._consumer.incremental_assign([Address(*one, at) for one, at in positions.items()])

    def remove(self, places: Iterable[TopicPartition]) -> None:
        """Stop reading these partitions; what was fetched of them is dropped."""
        given = list(places)
        for place in given:
            self._at.pop(place, None)
        self._consumer.incremental_unassign([Address(*one) for one in given])

    def fetch(self, records_max: int, timeout_ms: int) -> Fetched:
        """Up to `records_max` records, grouped by partition, after at most `timeout_ms`."""
        messages = self._consumer.consume(records_max, timeout_ms / 1000)
        fetched = Fetched()
        if any(map(Message.error, messages)):
            messages = [one for one in messages if self._is_record(one, fetched)]
        fetched.records = _by_place(messages)
        self._note(fetched)
        return fetched

    def known_ends(self) -> dict[TopicPartition, int]:
        """The ends of what is read, open transactions included, as of the latest fetches: each
        answer brings them, also one without a record. While brokers are away, what they said last.
        """
        found = {}
        for place in self._at:
            try:
                _low, end = self._consumer.get_watermark_offsets(Address(*place), cached=True)
            except KafkaException as error:
                _log.debug("no cached end of %s: %s", place, error)
                continue
            if end >= 0:
                found[place] = end
        return found

    def _note(self, fetched: Fetched) -> None:
        """Where to go on with another client, and whether that is needed."""
        found = {records.place: records.position for records in fetched.records} | fetched.at_end
        self._at.update({place: at for place, at in found.items() if place in self._at})
        if fetched.records or fetched.at_end:
            self._stuck.moved()
        elif self._at and self._stuck.is_to_replace("reading changelogs"):
            let_go(self._consumer)
            self._consumer = Consumer(self._settings)
            places = [Address(*one, at) for one, at in self._at.items()]
            self._consumer.incremental_assign(places)

    def _is_record(self, message: Message, fetched: Fetched) -> bool:
        error = message.error()
        if error is None:
            return True
        topic, partition = message.topic(), message.partition()
        if topic is None or partition is None or partition < 0:
            if error.fatal():
                raise translated(KafkaException(error), "reading changelogs")
            group = settings.restore_group(self._config)
            if not is_only_the_group(error, "reading changelogs", group):
                # Brokers that went away come back: librdkafka goes on trying and says so here.
                _log.warning("reading changelogs: %s", error.str())
            return False
        place = TopicPartition(topic, partition)
        if error.code() == KafkaError._PARTITION_EOF:
            fetched.at_end[place] = _offset(message)
        elif error.code() in _OUT_OF_RANGE:
            fetched.out_of_range.add(place)
        else:
            needed = on_topics("Read", [place.topic])
            fetched.failures[place] = translated(KafkaException(error), f"reading {place}", needed)
        return False

    def close(self) -> None:
        self._consumer.close()


def _by_place(messages: list[Message]) -> list[Records]:
    """Unbound methods through map, and one pass over whole runs: a third of a plain loop."""
    places: Any = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
    found: dict[Any, Records] = {}
    start = 0
    for place, run in groupby(places):
        end = start + len(list(run))
        part = messages[start:end]
        start = end
        records = found.get(place)
        if records is None:
            records = found[place] = Records(TopicPartition(*place), [], [], [])
        records.keys.extend(map(Message.key, part))
        records.values.extend(map(Message.value, part))
        records.offsets.extend(map(_offset, part))
    return list(found.values())
