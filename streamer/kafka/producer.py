"""The worker's producer: results, changelogs and positions in one Kafka transaction.

    init -> ( begin -> send... -> commit | abort )* -> close

Deliveries of a transaction are not reported one by one, which would cost as much as the rest. When
one fails, it is aborted and run again with reports on, so that the second failure names the record.

With `transactional_id=None` it is an idempotent producer whose `commit` flushes.
Librdkafka's queue is never allowed to refuse records in the middle of a batch: that would reorder a
key. So the room is made before, by waiting for deliveries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, compress, islice, repeat
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException

from streamer.config import Config
from streamer.errors import (
    FencedError,
    RecordRefusedError,
    RecordTooLargeError,
    StreamerError,
    TopicMissingError,
)
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.admin import Admin
from streamer.kafka.api import AbortableError, Committed, OnRefused
from streamer.kafka.deliveries import Deliveries
from streamer.kafka.diagnosis import have_it_done_again, raise_reason
from streamer.kafka.faults import error_of, producer_fault
from streamer.kafka.outgoing import Records, passing
from streamer.kafka.queueing import SendQueue
from streamer.kafka.refusals import Limits, Refusals, Sent, attempt
from streamer.kafka.writer import Writer
from streamer.record import Headers

__all__ = ["WorkerProducer"]

_ANY_PARTITION = -1
# What more is to be found out of than is said.
_DIAGNOSED = (AbortableError, TopicMissingError)
_ASK_S = 5.0
# The codes of a call that is refused for what happened before it.
_FAILED_BEFORE = (KafkaError._STATE, KafkaError._FATAL)


class WorkerProducer:
    """Used by one thread. `commit` returns where the changelogs end."""

    def __init__(
        self,
        config: Config,
        transactional_id: str | None,
        *,
        limits: Callable[[], Limits] = dict,
        stopping: threading.Event | None = None,
        queues: int = 1,
        writer: Callable[..., Writer] | None = None,
    ) -> None:
        """`limits` asks for the largest batch that each written topic takes, in bytes. Once
        `stopping` is set, `init` waits for brokers no longer and raises StoppedError. `queues` is
        how many producers share the memory for records that are under way. `writer` makes the
        client beneath, which by default commits positions of the application's group."""
        made = settings.producer(config, transactional_id)
        self._refusals = Refusals(limits, made)
        made["batch.size"] = self._refusals.batch_bytes
        # One record always fits.
        queue = "queue.buffering.max.kbytes"
        made[queue] = max(int(made[queue]) // queues, 2 * self._refusals.client_limit // 1024)
        beneath = writer or partial(Writer, group=config.application_id)
        self._writer = beneath(made, transactional_id, stopping=stopping)
        self._queue = SendQueue(made)
        self._deliveries = Deliveries(
            self._refusals, partial(_not_writable, config), partial(_missing, config)
        )
        self._is_diagnosing = False
        self._partitions: dict[str, int] = {}
        self._is_open = False
        self.on_refused: OnRefused | None = None

    @property
    def is_transactional(self) -> bool:
        return self._writer.transactional_id is not None

    @property
    def is_open(self) -> bool:
        return self._is_open

    def init(self, topic: str = "") -> None:
        self._writer.init(topic)

    def begin(self) -> None:
        if self._is_open:
            return
        self._deliveries.begin()
        self._writer.begin()
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
            Records(keys, values, headers, timestamps),
            repeat(_ANY_PARTITION) if partitions is None else partitions,
            repeat(self._report),
            repeat(None),  # `on_delivery`, another name of the parameter before it
            timestamps,
            *(() if headers is None else (map(list, headers),)),
            on_refused=self.on_refused or _raise,
        )

    def send_changes(
        self, changelog: TopicPartition, changes: Sequence[tuple[bytes, bytes | None]]
    ) -> None:
        if changes:
            keys, rows = zip(*changes, strict=True)
            callbacks = chain(repeat(self._report, len(changes) - 1), (self._deliveries.delivered,))
            self._send(
                changelog.topic,
                Records(keys, rows),
                repeat(changelog.partition),
                callbacks,
                on_refused=_raise,
            )

    @property
    def _report(self) -> Any:
        """What hears of each delivery. Without a transaction nothing else tells that one failed."""
        is_wanted = self._is_diagnosing or not self.is_transactional
        return self._deliveries.reported if is_wanted else None

    def _send(
        self, topic: str, records: Records, *columns: Iterable[Any], on_refused: OnRefused
    ) -> None:
        """One call of `produce` per record, made by `map` with positional arguments: as fast as
        `produce_batch`, which can neither set timestamps nor headers (measured)."""
        self.begin()
        self._deliveries.written.add(topic)
        if self._is_diagnosing:
            passes = passing(records, topic, self._refusals, on_refused=on_refused)
            records = records.passing(passes)
            columns = tuple(compress(column, passes) for column in columns)
        calls = map(self._writer.produce, repeat(topic), records.values, records.keys, *columns)
        if self._is_diagnosing:
            self._send_suspects_alone(topic, calls, records, on_refused=on_refused)
        else:
            self._put(topic, calls, records, on_refused=on_refused)

    def _put(
        self, topic: str, calls: Iterator[Any], records: Records, *, on_refused: OnRefused
    ) -> None:
        """Make as many of the calls as there are records."""
        keys, values, *_others = records
        end = 0
        while (start := end) < len(keys):
            end = self._make_room(records, start)
            sent: list[Any] = []
            while start + len(sent) < end:
                try:
                    sent.extend(islice(calls, end - start - len(sent)))
                except KafkaException as error:
                    row = start + len(sent)
                    self._refused(error, topic, (keys[row], values[row]), on_refused)
                    sent.append(None)
                except BufferError as error:  # an outlier in size; what follows must not overtake
                    raise AbortableError(f"writing to {topic}: the queue is full") from error

    def _send_suspects_alone(
        self, topic: str, calls: Iterator[Any], records: Records, *, on_refused: OnRefused
    ) -> None:
        end = 0
        for row in range(len(records.keys)):
            sent = records.sent(topic, row)
            if self._refusals.is_suspect(*sent[:3]):
                self._put(topic, calls, records.part(end, row), on_refused=on_refused)
                self._send_alone(sent, calls, on_refused)
                end = row + 1
        self._put(topic, calls, records.part(end, len(records.keys)), on_refused=on_refused)

    def _send_alone(self, sent: Sent, calls: Iterator[Any], on_refused: OnRefused) -> None:
        """Send a record in a batch of its own: what is said of that is said of the record."""
        topic, key, value, *_others = sent
        deliveries = self._deliveries
        try:
            self._writer.flush()
            deliveries.begin_alone()
            self._put(topic, calls, Records([key], [value]), on_refused=on_refused)
            self._writer.flush()
        except _DIAGNOSED as error:
            self._diagnose(error)
        finally:
            deliveries.is_alone = False
        if deliveries.refusal is None:
            self._refusals.acquit(topic, key, value)
            return
        problem = self._refusals.convict(sent, deliveries.refusal)
        if not self.is_transactional or on_refused is _raise:
            on_refused(topic, key, value, problem)
        else:  # The transaction has failed with it; the next try leaves it out.
            have_it_done_again(problem, self._refusals)

    def _refused(
        self,
        error: KafkaException,
        topic: str,
        record: tuple[bytes | None, bytes | None],
        on_refused: OnRefused,
    ) -> None:
        """The client did not take a record: for its size, or since the transaction has failed."""
        if error_of(error).code() in _FAILED_BEFORE:
            self._check()
        problem = producer_fault(error, attempt(topic, *record))
        if not isinstance(problem, RecordTooLargeError):
            raise problem from error
        on_refused(topic, *record, self._refusals.by_client(topic, *record))

    def _make_room(self, records: Records, start: int) -> int:
        """Wait until records from `start` on fit into the queue; returns the end of those."""
        try:
            return self._queue.make_room(records, start, self._writer)
        except _DIAGNOSED as error:
            self._diagnose(error)

    def partition_count(self, topic: str) -> int:
        """How many partitions a topic has."""
        if topic not in self._partitions:
            self._partitions[topic] = self._writer.partition_count(topic)
        return self._partitions[topic]

    # -- the end of a transaction --------------------------------------------------------------

    def commit(
        self, positions: Mapping[TopicPartition, Committed], group: Any
    ) -> dict[TopicPartition, int]:
        self.begin()
        try:
            self._writer.commit(positions, group)
            if self._deliveries.has_failed and not self.is_transactional:
                raise AbortableError("not every record could be written")
        except _DIAGNOSED as error:
            self._diagnose(error)
        self._is_open = self._is_diagnosing = False
        self._refusals.committed()
        self._queue.emptied()
        self._writer.poll(0)
        return self._deliveries.ends

    def _check(self) -> None:
        try:
            self._writer.check()
        except _DIAGNOSED as error:
            self._diagnose(error)

    def _diagnose(self, error: StreamerError) -> NoReturn:
        """A delivery failed: raise the reason, or have the next try report it."""
        self._writer.poll(0)
        was_reported, self._is_diagnosing = self._is_diagnosing, True
        raise_reason(error, self._deliveries, self._refusals, was_reported=was_reported)

    def abort(self) -> None:
        try:
            if self._is_open:
                self._writer.abort()
        except FencedError as error:
            # A transaction to which no partition may be added has never begun at the broker, and
            # its end fails for good.
            raise self._refusals.denial or error from error
        self._is_open = False
        self._queue.emptied()
        self._writer.poll(0)

    def close(self) -> None:
        """Drop the client; an open transaction is left to the next owner of the id to abort."""
        drops, self._is_open = self._is_open, False  # nothing is left to commit or to abort
        self._writer.close(drops=drops)


def _raise(
    _topic: str, _key: bytes | None, _value: bytes | None, problem: RecordRefusedError
) -> NoReturn:
    raise problem


def _not_writable(config: Config, topics: list[str]) -> list[str]:
    """Those of the topics that this user may not write, as far as the brokers tell."""
    try:
        return Admin(config, timeout_s=_ASK_S).denied("Write", topics)
    except StreamerError:
        return []


def _missing(config: Config, topics: list[str]) -> TopicMissingError | None:
    """What names those of the topics that are not there; None where all seem to be."""
    try:
        Admin(config, timeout_s=_ASK_S).partitions(topics)
    except TopicMissingError as error:
        return error
    except StreamerError:
        return None
    return None
