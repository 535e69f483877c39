"""The worker's producer: results, changelogs and positions in one Kafka transaction.

    init -> ( begin -> send... -> commit | abort )* -> close

Deliveries are not reported one by one, which would cost as much as the rest. When one fails, the
transaction is aborted and run again with reports on, so that the second failure names the record.

With `transactional_id=None` it is an idempotent producer whose `commit` flushes (at least once).
Librdkafka's queue is never allowed to refuse records in the middle of a batch: that would reorder a
key. So the room is made before, by waiting for deliveries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, compress, islice, repeat
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamer.config import Config
from streamer.errors import (
    FencedError,
    KafkaUnavailableError,
    RecordTooLargeError,
    StreamerError,
)
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.api import AbortableError, Committed, OnRefused
from streamer.kafka.consumer import with_metadata
from streamer.kafka.faults import error_of, translated
from streamer.record import Headers

__all__ = ["WorkerProducer"]

# Brokers may be away this long before a worker gives up; a commit whose outcome is not known can
# only be tried again.
_AWAY_S_MAX = 300.0
_RETRY_PAUSE_S = 0.1
# Several of these fill the queue; one alone never does.
_CHUNK_RECORDS = 10_000
_ANY_PARTITION = -1
_Key = tuple[str, bytes | None, bytes | None]


class WorkerProducer:
    """Used by one thread. `ends()` after a commit tells where the changelogs end."""

    def __init__(self, config: Config, transactional_id: str | None) -> None:
        made = settings.producer(config, transactional_id)
        self._producer = Producer(made)
        self._transactional_id = transactional_id
        self._records_max = int(made["queue.buffering.max.messages"]) - 2 * _CHUNK_RECORDS
        self._bytes_max = int(made["queue.buffering.max.kbytes"]) * 1024 // 2
        self._queued_bytes = 0
        self._ends: dict[TopicPartition, int] = {}
        self._failure: StreamerError | None = None
        self._is_diagnosing = False
        self._banned: dict[_Key, RecordTooLargeError] = {}
        self._partitions: dict[str, int] = {}
        self._is_open = False
        self.on_refused: OnRefused | None = None

    @property
    def is_transactional(self) -> bool:
        return self._transactional_id is not None

    @property
    def is_open(self) -> bool:
        return self._is_open

    def init(self) -> None:
        if self._transactional_id is not None:
            what = f"taking over transactional id {self._transactional_id!r}"
            self._repeat(lambda left_s: self._producer.init_transactions(left_s), what)

    def begin(self) -> None:
        if self._is_open:
            return
        self._ends = {}
        self._failure = None
        if self._transactional_id is not None:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise _problem(error, "beginning a transaction") from error
        self._is_open = True

    # -- sending -------------------------------------------------------------------------------

    def send(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        timestamps: Sequence[int],
        headers: Sequence[Headers] | None = None,
        partitions: Sequence[int] | None = None,
    ) -> None:
        self._send(
            topic,
            keys,
            values,
            repeat(_ANY_PARTITION) if partitions is None else partitions,
            repeat(self._reported if self._is_diagnosing else None),
            repeat(None),  # `on_delivery`, another name of the parameter before it
            timestamps,
            *(() if headers is None else (map(list, headers),)),
        )

    def send_changes(
        self, changelog: TopicPartition, changes: Sequence[tuple[bytes, bytes | None]]
    ) -> None:
        if changes:
            keys, rows = zip(*changes, strict=True)
            report = self._reported if self._is_diagnosing else None
            callbacks = chain(repeat(report, len(changes) - 1), (self._delivered,))
            self._send(changelog.topic, keys, rows, repeat(changelog.partition), callbacks)

    def _send(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *columns: Iterable[Any],
    ) -> None:
        """One call of `produce` per record, made by `map` with positional arguments: as fast as
        `produce_batch`, which can neither set timestamps nor headers (measured)."""
        self.begin()
        if self._banned:
            passes = self._passes(topic, keys, values)
            keys, values = list(compress(keys, passes)), list(compress(values, passes))
            columns = tuple(compress(column, passes) for column in columns)
        calls = map(self._producer.produce, repeat(topic), values, keys, *columns)
        for start in range(0, len(keys), _CHUNK_RECORDS):
            end = min(start + _CHUNK_RECORDS, len(keys))
            self._make_room(keys[start:end], values[start:end])
            sent: list[Any] = []
            while start + len(sent) < end:
                try:
                    sent.extend(islice(calls, end - start - len(sent)))
                except KafkaException as error:
                    row = start + len(sent)
                    problem = translated(error, _what(topic, keys[row], values[row]))
                    if not isinstance(problem, RecordTooLargeError):
                        raise problem from error
                    self._refuse(topic, keys[row], values[row], problem)
                    sent.append(None)

    def _refuse(
        self, topic: str, key: bytes | None, value: bytes | None, problem: RecordTooLargeError
    ) -> None:
        if self.on_refused is None:
            raise problem
        self.on_refused(topic, key, value, problem)

    def _passes(
        self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]
    ) -> list[bool]:
        """Which records may be sent: not those that a broker refused in an earlier try."""
        passes = [True] * len(keys)
        for row, (key, value) in enumerate(zip(keys, values, strict=True)):
            problem = self._banned.get((topic, key, value))
            if problem is not None:
                self._refuse(topic, key, value, problem)
                passes[row] = False
        return passes

    def _make_room(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
        self._queued_bytes += sum(map(len, filter(None, keys)))
        self._queued_bytes += sum(map(len, filter(None, values)))
        deadline = time.monotonic() + _AWAY_S_MAX
        while (waiting := len(self._producer)) and (
            waiting > self._records_max or self._queued_bytes > self._bytes_max
        ):
            self._poll(0.02)
            if len(self._producer) < waiting // 2 or not len(self._producer):
                self._queued_bytes //= 2
            if time.monotonic() > deadline:
                raise KafkaUnavailableError(
                    f"{waiting} records could not be written in {_AWAY_S_MAX:.0f} s",
                    hint="check that the brokers run",
                )

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        if error is None or self._failure is not None:
            return
        topic, key, value = message.topic() or "", message.key(), message.value()
        self._failure = translated(KafkaException(error), _what(topic, key, value))
        if isinstance(self._failure, RecordTooLargeError):
            self._banned[topic, key, value] = self._failure

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self._reported(error, message)
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is None and topic is not None and partition is not None and offset is not None:
            self._ends[TopicPartition(topic, partition)] = offset + 1

    def partition_count(self, topic: str) -> int:
        """How many partitions a topic has."""
        if topic not in self._partitions:
            self._partitions[topic] = _count_partitions(self._producer, topic)
        return self._partitions[topic]

    # -- the end of a transaction --------------------------------------------------------------

    def commit(
        self, positions: Mapping[TopicPartition, Committed], group: Any
    ) -> dict[TopicPartition, int]:
        self.begin()
        try:
            self._commit(positions, group)
        except AbortableError as error:
            self._diagnose(error)
        self._is_open = self._is_diagnosing = False
        self._banned.clear()
        self._queued_bytes = 0
        self._poll(0)
        return self._ends

    def _commit(self, positions: Mapping[TopicPartition, Committed], group: Any) -> None:
        if self._transactional_id is None:
            self._flush()
            if self._failure is not None:
                raise AbortableError(str(self._failure))
            return
        if positions:
            offsets = with_metadata(positions)
            self._repeat(
                lambda left: self._producer.send_offsets_to_transaction(offsets, group, left),
                "adding positions to the transaction",
            )
        self._repeat(self._producer.commit_transaction, "committing a transaction")

    def _diagnose(self, error: AbortableError) -> NoReturn:
        """A delivery failed: have the next try report why, unless this one already did."""
        self._poll(0)
        if self._is_diagnosing and self._failure is not None:
            known = isinstance(self._failure, RecordTooLargeError) and self.on_refused is not None
            if not known:
                raise self._failure from error
        self._is_diagnosing = True
        raise error

    def abort(self) -> None:
        if self._is_open and self._transactional_id is not None:
            self._repeat(self._producer.abort_transaction, "aborting a transaction")
        elif self._is_open:
            self._producer.purge()
        self._is_open = False
        self._queued_bytes = 0
        self._poll(0)

    def _flush(self) -> None:
        try:
            left = self._producer.flush(_AWAY_S_MAX)
        except (KafkaException, SystemError) as error:
            raise _problem(_reported_by_binding(error), "writing") from error
        if left:
            raise KafkaUnavailableError(
                f"{left} records could not be written in {_AWAY_S_MAX:.0f} s",
                hint="check that the brokers run",
            )

    def _repeat(self, call: Callable[[float], Any], what: str) -> None:
        """Call until it succeeds, or until a deadline for what may be tried again."""
        deadline = time.monotonic() + _AWAY_S_MAX
        while True:
            left_s = max(deadline - time.monotonic(), 1.0)
            try:
                call(left_s)
                return
            except (KafkaException, SystemError) as error:
                reported = _reported_by_binding(error)
                if not error_of(reported).retriable() or time.monotonic() >= deadline:
                    raise _problem(reported, what) from error
                self._poll(_RETRY_PAUSE_S)

    def _poll(self, timeout_s: float) -> None:
        """Serve deliveries. The binding raises a fatal error of the client, such as a fence, from
        whatever serves callbacks next."""
        try:
            self._producer.poll(timeout_s)
        except (KafkaException, SystemError) as error:
            raise _problem(_reported_by_binding(error), "writing") from error

    def close(self) -> None:
        """Drop the client; an open transaction is left to the next owner of the id to abort."""
        with suppress(KafkaException, SystemError):
            if self._is_open:
                self._producer.purge()
            self._producer.flush(1.0)


def _count_partitions(producer: Producer, topic: str) -> int:
    try:
        found = producer.list_topics(topic, timeout=30).topics[topic]
    except KafkaException as error:
        raise translated(error, f"looking up {topic}") from error
    if found.error is not None:
        raise translated(KafkaException(found.error), f"looking up {topic}")
    return len(found.partitions)


def _reported_by_binding(error: Exception) -> KafkaException:
    """What the client reported. A delivery that is served behind a fatal error makes of it a
    SystemError ("returned a result with an exception set") with the error as its cause."""
    reported = error.__cause__ if isinstance(error, SystemError) else error
    if not isinstance(reported, KafkaException):
        raise error
    return reported


def _problem(reported: KafkaException, what: str) -> StreamerError:
    problem = translated(reported, what)
    if error_of(reported).fatal() and not isinstance(problem, FencedError):
        # Such as INVALID_TXN_STATE, when a transaction that never began at the broker is aborted.
        return FencedError(str(problem), hint="the worker joins again with a new producer")
    return problem


def _what(topic: str, key: bytes | None, value: bytes | None) -> str:
    return f"writing {len(key or b'') + len(value or b'')} bytes to {topic}, key {key!r}"
