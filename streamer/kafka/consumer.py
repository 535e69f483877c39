"""The input consumer: reads assigned partitions, whole batches at a time, as columns.

It never subscribes: which partitions it reads is told by the worker, and starting or stopping one
never happens inside a callback. Its group is the application's, only so that committed positions
stand where ordinary lag tools look.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, overload

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Address

from streamer.config import Config, budget
from streamer.errors import (
    ConfigError,
    KafkaUnavailableError,
    StreamerError,
    TaskCorruptedError,
)
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.api import Committed, Fetched
from streamer.kafka.faults import error_of, translated
from streamer.kafka.lookup import LookedUp
from streamer.kafka.portions import Portions
from streamer.kafka.rights import on_group, on_topics, refusal
from streamer.kafka.stuck import let_go, stuck
from streamer.record import RawBatch

__all__ = ["InputConsumer", "with_metadata"]

_log = logging.getLogger(__name__)

# One call for the bounds of a partition; brokers that are away are waited for.
_REQUEST_TIMEOUT_S = 30.0
# One for committed positions. Nothing else is done meanwhile, and whoever asks does so again.
_COMMITTED_S = 10.0


class InputConsumer:
    """Reads input partitions. Used by one thread."""

    def __init__(
        self, config: Config, made: Mapping[str, Any] | None = None, *, shares: int = 1
    ) -> None:
        """`made` are the settings of a client that is not the application's own, `shares` how many
        readers have the memory for a batch between them."""
        self._config = config
        self._settings = dict(settings.input_consumer(config) if made is None else made)
        self._consumer = Consumer(self._settings)
        self._group = str(self._settings["group.id"])
        self._portions = Portions(max(budget(config).batch_bytes // shares, 1))
        self._denied: ConfigError | None = None
        self._at: dict[TopicPartition, int] = {}
        self._looked_up = LookedUp()
        self._paused: set[TopicPartition] = set()
        self._stuck = stuck(config, lambda: self._consumer, lambda: next(iter(self._at)).topic)

    def add(self, positions: Mapping[TopicPartition, int]) -> None:
        self._portions.expect(place.topic for place in positions)
        if not self._at:
            self._stuck.moved()
        self._at.update(positions)
        self._looked_up.ensure(self._consumer, (place.topic for place in positions))
        self._consumer.incremental_assign(_addresses(positions))

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        addresses = [Address(*one) for one in partitions]
        for address in addresses:
            place = TopicPartition(address.topic, address.partition)
            self._at.pop(place, None)
            self._paused.discard(place)
        # librdkafka keeps a partition paused for its next assignment.
        self._consumer.resume(addresses)
        self._consumer.incremental_unassign(addresses)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        # librdkafka's own seek fails for partitions that it has not begun to fetch.
        self.remove(positions)
        self.add(positions)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        given = [TopicPartition(*one) for one in partitions]
        self._paused.update(given)
        self._consumer.pause([Address(*one) for one in given])

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        given = [TopicPartition(*one) for one in partitions]
        self._paused.difference_update(given)
        self._consumer.resume([Address(*one) for one in given])

    def fetch(self, records_max: int, timeout_ms: int) -> Fetched:
        messages = self._portions.take(
            self._consumer.consume, records_max, timeout_ms / 1000, size=_payload
        )
        fetched = Fetched(is_full=self._portions.is_full)
        if any(map(Message.error, messages)):
            messages = [one for one in messages if self._is_record(one, fetched)]
        runs: dict[Any, list[Any]] = {}
        # Two groupings by C methods cost a quarter of one by a Python function.
        for partition, of_partition in groupby(messages, Message.partition):
            for topic, run in groupby(of_partition, Message.topic):
                known = runs.get((topic, partition))
                if known is None:
                    runs[topic, partition] = list(run)
                else:
                    known.extend(run)
        fetched.batches = [_columns(place, run) for place, run in runs.items()]
        self._portions.saw(fetched.batches)
        self._note(fetched)
        return fetched

    def _note(self, fetched: Fetched) -> None:
        """Where to go on with another client, and whether that is needed."""
        found = {batch.place: batch.position for batch in fetched.batches} | fetched.ends
        self._at.update({place: at for place, at in found.items() if place in self._at})
        if fetched.batches or fetched.ends:
            self._stuck.moved()
        elif self._at and self._stuck.is_to_replace("reading input"):
            self._replace()

    def _replace(self) -> None:
        fresh = Consumer(self._settings)
        let_go(self._consumer)
        self._consumer = fresh
        fresh.incremental_assign(_addresses(self._at))
        fresh.pause([Address(*one) for one in self._paused])

    def _is_record(self, message: Message, fetched: Fetched) -> bool:
        error = message.error()
        if error is None:
            return True
        topic, partition = message.topic(), message.partition()
        if topic is None or partition is None or partition < 0:
            self._general(error)
            return False
        place = TopicPartition(topic, partition)
        if error.code() == KafkaError._PARTITION_EOF:
            fetched.ends[place] = message.offset() or 0
        elif error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
            fetched.failures[place] = self._gone(place, message.offset(), error)
        else:
            needed = on_topics("Read", [place.topic])
            fetched.failures[place] = translated(KafkaException(error), f"reading {place}", needed)
        return False

    def _gone(
        self, place: TopicPartition, position: int | None, error: KafkaError
    ) -> TaskCorruptedError:
        try:
            first, end = self.bounds(place)
            found = f"the topic begins at {first} and ends at {end}"
        except StreamerError:
            found = error.str()
        return TaskCorruptedError(
            f"{place}: position {position} is to be read next, but {found}",
            hint="its retention passed the committed position, or the topic was made anew;"
            " records are missing. To accept that, reset the group's offset for this partition"
            " (kafka-consumer-groups --reset-offsets) and restart",
        )

    def _general(self, error: KafkaError) -> None:
        # Who only reads need not look at the group; who asks it for positions waits in vain.
        self._denied = refusal(error, "reading input", on_group("Read", self._group))
        if error.fatal():
            raise translated(KafkaException(error), "reading input")
        # Brokers that went away come back: librdkafka goes on trying and says so here.
        _log.warning("reading input: %s", error.str())

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        if self._denied is not None:
            raise self._denied
        try:
            answers = self._consumer.committed(
                [Address(*one) for one in partitions], timeout=_COMMITTED_S
            )
        except KafkaException as error:
            topics = on_topics("Describe", (place.topic for place in partitions))
            what = f"reading committed offsets of {self._group!r}"
            problem = translated(error, what, on_group("Describe", self._group), topics)
            if isinstance(problem, KafkaUnavailableError):
                # A client may have lost the group's coordinator for good, while it reads on.
                self._replace()
            raise problem from error
        return {
            TopicPartition(one.topic, one.partition): Committed(one.offset, one.metadata or "")
            for one in answers
            if one.offset >= 0
        }

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(
                Address(*partition), timeout=_REQUEST_TIMEOUT_S
            )
        except KafkaException as error:
            needed = on_topics("Describe", [partition.topic])
            raise translated(error, f"asking for the bounds of {partition}", needed) from error
        return low, high

    def known_end(self, partition: TopicPartition) -> int:
        try:
            _low, high = self._consumer.get_watermark_offsets(Address(*partition), cached=True)
        except KafkaException as error:
            _log.debug("no cached end of %s: %s", partition, error_of(error).str())
            return -1
        return int(high)

    def group(self) -> Any:
        return self._consumer.consumer_group_metadata()

    def close(self) -> None:
        self._consumer.close()


def with_metadata(positions: Mapping[TopicPartition, Committed]) -> list[Address]:
    return [
        Address(place.topic, place.partition, one.position, metadata=one.metadata)
        for place, one in positions.items()
    ]


def _addresses(positions: Mapping[TopicPartition, int]) -> list[Address]:
    return [Address(place.topic, place.partition, at) for place, at in positions.items()]


_second: Any = itemgetter(1)
_headers: Any = Message.headers


class _Offsets(Sequence[int]):
    """The offsets of messages, each taken when somebody asks: few do."""

    __slots__ = ("_messages",)

    def __init__(self, messages: list[Any]) -> None:
        self._messages = messages

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, place: int) -> int: ...

    @overload
    def __getitem__(self, place: slice) -> _Offsets: ...

    def __getitem__(self, place: int | slice) -> int | _Offsets:
        if isinstance(place, slice):
            return _Offsets(self._messages[place])
        offset: int = self._messages[place].offset()
        return offset


def _payload(messages: list[Any]) -> int:
    return sum(map(len, filter(None, map(Message.value, messages))))


def _columns(place: Any, messages: list[Any]) -> RawBatch:
    # Unbound methods through map: a third of the cost of a comprehension with calls.
    timestamps = list(map(_second, map(Message.timestamp, messages)))
    if min(timestamps) < 0:
        # Records of before Kafka 0.10 have none.
        timestamps = [max(stamp, 0) for stamp in timestamps]
    return RawBatch(
        topic=place[0],
        partition=place[1],
        keys=list(map(Message.key, messages)),
        values=list(map(Message.value, messages)),
        timestamps=timestamps,
        offsets=_Offsets(messages),
        read_headers=lambda: list(map(_headers, messages)),
    )
