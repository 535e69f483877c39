"""The worker's producer: results, changelogs and positions in one Kafka transaction.

    init -> ( begin -> send... -> commit | abort )* -> close

With `transactional_id=None` it is an idempotent producer whose `commit` flushes (at least once).
Librdkafka's queue is never allowed to refuse records in the middle of a batch: that would reorder a
key. So the room is made before, by waiting for deliveries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamer.config import Config
from streamer.errors import KafkaUnavailableError, RecordTooLargeError, StreamerError
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.consumer import Committed, with_metadata
from streamer.kafka.faults import AbortableError, error_of, translated
from streamer.record import Headers

__all__ = ["WorkerProducer"]

_TRANSACTION_TIMEOUT_S = 60.0
_RETRY_PAUSE_S = 0.1
# Several of these fill the queue; one alone never does.
_CHUNK_RECORDS = 10_000


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
        self._failure: KafkaError | None = None
        self._partitions: dict[str, int] = {}
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether a transaction has begun."""
        return self._is_open

    def init(self) -> None:
        """Take over the transactional id: whoever held it is fenced, its transaction aborted."""
        if self._transactional_id is not None:
            what = f"taking over transactional id {self._transactional_id!r}"
            self._repeat(lambda left_s: self._producer.init_transactions(left_s), what)

    def begin(self) -> None:
        """Open a transaction unless one is open."""
        if self._is_open:
            return
        self._ends = {}
        self._failure = None
        if self._transactional_id is not None:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise translated(error, "beginning a transaction") from error
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
        """Send results. Raises RecordTooLargeError where one is larger than the client allows."""
        self.begin()
        if headers is not None:
            self._send_singly(topic, keys, values, timestamps, headers, partitions)
            return
        if partitions is None:
            rows = [
                {"key": key, "value": value, "timestamp": stamp}
                for key, value, stamp in zip(keys, values, timestamps, strict=True)
            ]
        else:
            rows = [
                {"key": key, "value": value, "timestamp": stamp, "partition": partition}
                for key, value, stamp, partition in zip(
                    keys, values, timestamps, partitions, strict=True
                )
            ]
        self._send_rows(topic, rows)

    def send_changes(
        self, changelog: TopicPartition, changes: Sequence[tuple[bytes, bytes | None]]
    ) -> None:
        """Send a store's changes to its changelog partition."""
        if not changes:
            return
        self.begin()
        rows: list[dict[str, Any]] = [{"key": key, "value": row} for key, row in changes]
        rows[-1]["callback"] = self._delivered
        self._send_rows(changelog.topic, rows, partition=changelog.partition)

    def _send_rows(
        self, topic: str, rows: list[dict[str, Any]], *, partition: int | None = None
    ) -> None:
        for start in range(0, len(rows), _CHUNK_RECORDS):
            chunk = rows[start : start + _CHUNK_RECORDS]
            self._make_room(chunk)
            try:
                if partition is None:
                    queued = self._producer.produce_batch(topic, chunk)
                else:
                    queued = self._producer.produce_batch(topic, chunk, partition)
            except KafkaException as error:
                raise translated(error, f"writing to {topic}") from error
            if queued != len(chunk):
                raise _refused(topic, chunk)

    def _send_singly(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamps: Sequence[int],
        headers: Sequence[Headers],
        partitions: Sequence[int] | None,
    ) -> None:
        """Record by record: librdkafka takes no headers in a batch."""
        for row, key in enumerate(keys):
            value = values[row]
            self._make_room([{"key": key, "value": value}])
            placed: Any = {} if partitions is None else {"partition": partitions[row]}
            try:
                self._producer.produce(
                    topic,
                    key=key,
                    value=value,
                    timestamp=timestamps[row],
                    headers=list(headers[row]),
                    **placed,
                )
            except KafkaException as error:
                raise translated(error, f"writing to {topic}, key {key!r}") from error

    def _make_room(self, rows: Sequence[Mapping[str, Any]]) -> None:
        size = sum(len(row["value"] or b"") + len(row["key"] or b"") for row in rows)
        self._queued_bytes += size
        deadline = time.monotonic() + _TRANSACTION_TIMEOUT_S
        while (waiting := len(self._producer)) and (
            waiting > self._records_max or self._queued_bytes > self._bytes_max
        ):
            self._producer.poll(0.02)
            if len(self._producer) < waiting // 2 or not len(self._producer):
                self._queued_bytes //= 2
            if time.monotonic() > deadline:
                raise KafkaUnavailableError(
                    f"{waiting} records could not be written in {_TRANSACTION_TIMEOUT_S:.0f} s",
                    hint="check that the brokers run",
                )

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is not None:
            self._failure = error
        elif topic is not None and partition is not None and offset is not None:
            self._ends[TopicPartition(topic, partition)] = offset + 1

    def partition_count(self, topic: str) -> int:
        """How many partitions a topic has."""
        known = self._partitions.get(topic)
        if known is None:
            try:
                found = self._producer.list_topics(topic, timeout=30).topics[topic]
            except KafkaException as error:
                raise translated(error, f"looking up {topic}") from error
            if found.error is not None:
                raise translated(KafkaException(found.error), f"looking up {topic}")
            known = self._partitions[topic] = len(found.partitions)
        return known

    # -- the end of a transaction --------------------------------------------------------------

    def commit(
        self, positions: Mapping[TopicPartition, Committed], group: Any
    ) -> dict[TopicPartition, int]:
        """Commit everything sent, and these input positions; returns the changelogs' ends.

        Raises FencedError when another producer took the transactional id over, AbortableError
        when the transaction has to be aborted, KafkaUnavailableError after a minute of trying.
        """
        if self._transactional_id is None:
            self._flush()
        else:
            self.begin()
            if positions:
                offsets = with_metadata(positions)
                self._repeat(
                    lambda left: self._producer.send_offsets_to_transaction(offsets, group, left),
                    "adding positions to the transaction",
                )
            self._repeat(self._producer.commit_transaction, "committing a transaction")
        self._is_open = False
        self._queued_bytes = 0
        self._producer.poll(0)
        if self._failure is not None:
            raise translated(KafkaException(self._failure), "writing a changelog")
        return self._ends

    def abort(self) -> None:
        """Take back everything sent since the last commit."""
        if self._is_open and self._transactional_id is not None:
            self._repeat(self._producer.abort_transaction, "aborting a transaction")
        elif self._is_open:
            self._producer.purge()
        self._is_open = False
        self._queued_bytes = 0
        self._producer.poll(0)

    def _flush(self) -> None:
        left = self._producer.flush(_TRANSACTION_TIMEOUT_S)
        if left:
            raise KafkaUnavailableError(
                f"{left} records could not be written in {_TRANSACTION_TIMEOUT_S:.0f} s",
                hint="check that the brokers run",
            )

    def _repeat(self, call: Callable[[float], Any], what: str) -> None:
        """Call until it succeeds, or until a deadline for what may be tried again."""
        deadline = time.monotonic() + _TRANSACTION_TIMEOUT_S
        while True:
            left_s = max(deadline - time.monotonic(), 1.0)
            try:
                call(left_s)
                return
            except KafkaException as error:
                problem = error_of(error)
                if not problem.retriable() or time.monotonic() >= deadline:
                    raise translated(error, what) from error
                self._producer.poll(_RETRY_PAUSE_S)

    def close(self) -> None:
        """Drop the client; an open transaction is left to the next owner of the id to abort."""
        if self._is_open:
            self._producer.purge()
        self._producer.flush(1.0)


def _refused(topic: str, rows: Sequence[Mapping[str, Any]]) -> StreamerError:
    for row in rows:
        problem = row.get("_error")
        if problem is None:
            continue
        if isinstance(problem, KafkaError) and problem.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            size = len(row["value"] or b"") + len(row["key"] or b"")
            return RecordTooLargeError(
                f"a record of {size} bytes for {topic}, key {row['key']!r}, is too large",
                hint="raise message.max.bytes here and on the topic, write smaller records, or set"
                " production_error to skip or dead_letter",
            )
        return AbortableError(f"writing to {topic}, key {row['key']!r}: {problem}")
    return AbortableError(f"writing to {topic}: the client took only a part of a batch")
