"""Compacted control topics: read as rows in the order of the log, written by key.

A row is the newest word about its key; a row without a value takes the key back. Only committed
rows are seen. When the position to read does not exist any more, since the topic was deleted and
made anew, reading begins again: a repeated row does no harm.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
)
from confluent_kafka import TopicPartition as Address

from streamer import failpoints
from streamer.closable import Closable
from streamer.config import Config
from streamer.errors import KafkaUnavailableError, StreamerError
from streamer.ids import TopicPartition, control_topic
from streamer.kafka import settings
from streamer.kafka.api import Committed
from streamer.kafka.attempts import Attempts, reported, unless_away
from streamer.kafka.consumer import with_metadata
from streamer.kafka.entry import is_of_member
from streamer.kafka.faults import as_exception, error_of, translated
from streamer.kafka.lookup import look_up
from streamer.kafka.rights import is_only_the_group, on_group, on_id, on_topics
from streamer.kafka.stuck import let_go, stuck

__all__ = ["ExclusiveWriter", "Positions", "Row", "TableReader", "TableWriter", "newest"]

_log = logging.getLogger(__name__)

_BATCH = 1_000
_ASKED_MAX = 16
_WRITE_S = 10.0
_FULL_S = 0.1


class Row(NamedTuple):
    """One record of a table; without a value the key is deleted."""

    place: TopicPartition
    offset: int
    key: str
    value: bytes | None


def newest(rows: Iterable[Row]) -> list[Row]:
    """The last row of each key in its partition. What it replaces is not to be read any more: a
    record that nobody can read is taken out by another one of its key."""
    return list({(row.place, row.key): row for row in rows}.values())


class TableReader(Closable):
    """Reads some partitions from their beginning and goes on for ever. Used by one thread.

    With a `wait_ms` it asks less often, and `read_to` takes as much longer. So may a partition that
    is not the first take at the start, since a broker is asked one thing at a time: one who cannot
    wait for it begins with a short time, and later asks less.
    """

    def __init__(
        self,
        config: Config,
        partitions: Iterable[TopicPartition],
        *,
        wait_ms: int = settings.FETCH_WAIT_MS,
    ) -> None:
        self._config = config
        self._reached: dict[TopicPartition, int] = dict.fromkeys(partitions, 0)
        topics = {place.topic for place in self._reached}
        self._where = ", ".join(sorted(topics))
        self._needed = on_topics("Read", topics)
        self._group = settings.control_group(config)
        self.wait_ms = wait_ms
        self.trouble_s: float | None = None
        """When a broker was last found to be gone, by `time.monotonic`."""
        self._begin()

    def ask_after(self, wait_ms: int) -> None:
        """Go on where it is, with a client that asks again after so long when nothing comes."""
        let_go(self._consumer, after=self._stuck.looking)
        self.wait_ms = wait_ms
        self._begin()

    def _begin(self) -> None:
        """With another client, from where this reader is."""
        made = self._client()
        self._consumer = made
        self._stuck = stuck(
            self._config,
            lambda: made,
            # One with one partition: the answer about assignments names a thousand.
            lambda: control_topic(self._config.application_id, "members"),
            wait_s=self.wait_ms / 1000,
            # It would stand behind a fetch of one broker while another has an assignment.
            beside=True,
        )

    def read(self, timeout_s: float) -> list[Row]:
        """Rows that have come, after at most this time. Raises what waiting cannot mend."""
        # `consume` would wait the whole time for a full batch.
        first = self._consumer.poll(timeout_s)
        if first is None:
            if self._reached and self._stuck.is_to_replace(f"reading {self._where}"):
                let_go(self._consumer, after=self._stuck.looking)
                self._begin()
            return []
        if first.error() is None:
            self._stuck.moved()
        rows = map(self._row, [first, *self._consumer.consume(_BATCH, 0)])
        return [row for row in rows if row is not None]

    def read_to(self, ends: Mapping[TopicPartition, int], *, timeout_s: float) -> list[Row]:
        """All rows up to these ends. Raises KafkaUnavailableError when that takes too long."""
        if any(end < 0 for end in ends.values()):
            raise KafkaUnavailableError(
                f"where {self._where} ends is not known", hint="check that the brokers run"
            )
        deadline = time.monotonic() + timeout_s
        rows: list[Row] = []
        while any(self._reached[place] < end for place, end in ends.items()):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise KafkaUnavailableError(
                    f"reading {self._where} to the end took longer than {timeout_s:g} s",
                    hint="check that the brokers run, and that no transaction hangs on the topic",
                )
            rows += self.read(min(left_s, 0.2))
        return rows

    def reached(self, place: TopicPartition) -> int:
        """All before this position was given out. Behind what stands last in a partition, markers
        of transactions are passed once the brokers had nothing more to give."""
        return self._reached[place]

    def close(self) -> None:
        if looking := self._stuck.looking:
            let_go(self._consumer, after=looking)
        else:
            self._consumer.close()

    def _client(self) -> Consumer:
        """One that reads on from where this reader is."""
        made = settings.control_consumer(self._config, wait_ms=self.wait_ms)
        client = Consumer(made | {"error_cb": self._hears_trouble(made["error_cb"])})
        places = self._reached.items()
        # "The beginning" is a question, which a new client asks in vain, and again half a second
        # later. Where 0 is gone, the broker says so. But where a request waits long for news, who
        # waits for the first of a few must not wait for another one: the questions keep the order.
        asks = self.wait_ms > settings.CONTROLLER_WAIT_MS and len(places) <= _ASKED_MAX
        parts = [Address(*one, at) if at or not asks else _beginning(one) for one, at in places]
        # Given all at once, it would begin with the last.
        client.assign(parts[:1])
        if parts[1:]:
            client.incremental_assign(parts[1:])
        return client

    def _hears_trouble(self, listener: Callable[[KafkaError], None]) -> Callable[..., None]:
        def heard(error: KafkaError) -> None:
            listener(error)
            if is_of_member(error):
                self.trouble_s = time.monotonic()

        return heard

    def _row(self, message: Message) -> Row | None:
        error = message.error()
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        place = TopicPartition(topic or "", -1 if partition is None else partition)
        if error is None and offset is not None:
            self._reached[place] = offset + 1
            # A key that is no text is for whoever reads the row to refuse, by what it looks like.
            key = (message.key() or b"").decode(errors="backslashreplace")
            return Row(place, offset, key, message.value())
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            # Transaction markers are not rows: the end may lie behind the last of them.
            self._reached[place] = max(self._reached.get(place, 0), offset or 0)
        elif error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
            if self._reached[place]:
                _log.warning("%s was made anew, reading it from its beginning", place)
            self._reached[place] = 0
            self._consumer.incremental_unassign([Address(*place)])
            self._consumer.incremental_assign([_beginning(place)])
        elif not is_only_the_group(error, f"reading {self._where}", self._group) and (
            problem := unless_away(error, f"reading {self._where}", self._needed)
        ):
            raise problem
        return None


class _Sent(NamedTuple):
    value: bytes | None
    arrived: Callable[[], None] | None


class TableWriter:
    """Writes rows one by one, without a transaction. Used by one thread."""

    def __init__(self, config: Config) -> None:
        self._made = _PACKED | settings.producer(config) | _SMALL | _IN_ORDER
        self._producer = Producer(self._made)
        self._failure: KafkaError | None = None
        self._last: dict[tuple[TopicPartition, str], _Sent] = {}
        self._stuck = stuck(
            config, lambda: self._producer, lambda: next(iter(self._last))[0].topic, writes=True
        )

    def put(
        self,
        place: TopicPartition,
        key: str,
        value: bytes | None,
        *,
        arrived: Callable[[], None] | None = None,
    ) -> None:
        """Send a row; rows of one writer arrive in their order. Returns at once. `arrived` is
        called once the brokers have acknowledged it, in a later `put`, `look` or `flush`.

        Raises what an earlier row was refused for.
        """
        self._raise_failure()
        self._producer.poll(0)
        if not (self._last and len(self._producer)):
            self._stuck.moved()
        elif self._stuck.is_to_replace("writing control records"):
            self._replace()
        self._last[place, key] = _Sent(value, arrived)
        self._produce(place, key, self._last[place, key])
        self._producer.poll(0)

    def look(self) -> None:
        """Take in what the brokers have said, without waiting."""
        self._producer.poll(0)

    def _produce(self, place: TopicPartition, key: str, row: _Sent) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            self._delivered(error, message)
            if error is None and row.arrived is not None:
                row.arrived()

        try:
            self._producer.produce(
                place.topic, row.value, key.encode(), place.partition, on_delivery=delivered
            )
        except KafkaException as error:
            # It knows already that it may not write there.
            self._failure = error_of(error)
            self._raise_failure()

    def _replace(self) -> None:
        """The last row of each key is written again: a repeated row does no harm."""
        self._producer.purge()
        let_go(self._producer)
        self._producer = Producer(self._made)
        for (place, key), row in self._last.items():
            self._produce(place, key, row)

    def flush(self, timeout_s: float) -> None:
        """Wait until all rows are written. Raises KafkaUnavailableError when they are not."""
        left = self._producer.flush(timeout_s)
        self._raise_failure()
        if left:
            raise KafkaUnavailableError(
                f"{left} control records could not be written in {timeout_s:g} s",
                hint="check that the brokers run",
            )

    def close(self) -> None:
        self._producer.purge()
        self._producer.close()

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        # A purged row was given up on purpose.
        if error is None:
            self._stuck.moved()
        elif error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is None:
            return
        failure, self._failure = self._failure, None
        topics = on_topics("Write", (place.topic for place, _key in self._last))
        if problem := unless_away(failure, "writing control records", topics):
            raise problem
        _log.warning("a control record was not written: %s", failure.str())


class Positions(NamedTuple):
    """Of the group called `name`, `group` being what its consumer says of it."""

    of: Mapping[TopicPartition, Committed]
    name: str
    group: Any


class ExclusiveWriter:
    """Writes rows in transactions; a later writer with the same id makes it useless."""

    def __init__(
        self, config: Config, transactional_id: str, *, transaction_ms_max: int | None = None
    ) -> None:
        """`transaction_ms_max` is for those that nobody follows: a transaction that is left open is
        aborted by the brokers after so long, and until then readers wait for it."""
        made = _PACKED | settings.producer(config, transactional_id) | _SMALL
        # It bounds the other two, which librdkafka makes as short where the user has not set them.
        if transaction_ms_max is not None and not _BOUNDED_BY_TRANSACTION & made.keys():
            made["transaction.timeout.ms"] = min(transaction_ms_max, config.transaction_timeout_ms)
        self._producer = Producer(made)
        self._id = transactional_id
        self._where = config.bootstrap_servers
        self._failure: StreamerError | None = None

    def claim(self, timeout_s: float, *, topic: str = "") -> None:
        """The former one's open transaction is aborted. In a hurry, name a `topic` that exists."""
        look_up(self._producer, [topic] if topic else [])
        attempts = Attempts(timeout_s, self._where, client=lambda: self._producer)
        what = f"taking over {self._id}"
        attempts(what, self._producer.init_transactions, on_id(self._id))

    def write(
        self,
        rows: Sequence[tuple[TopicPartition, str, bytes | None]],
        *,
        positions: Positions | None = None,
    ) -> None:
        """All rows and these positions, or none. Raises FencedError for a writer that was replaced.

        After any error this writer is of no further use, and raises the same again: it may not
        know what became of the rows.
        """
        if self._failure is not None:
            raise self._failure
        try:
            with as_exception:
                self._producer.begin_transaction()
                for place, key, value in rows:
                    self._put(place, key.encode(), value)
                if positions is not None:
                    self._producer.send_offsets_to_transaction(
                        with_metadata(positions.of), positions.group, _WRITE_S
                    )
                failpoints.hit("table.before_commit")
                self._producer.commit_transaction(_WRITE_S)
        except (KafkaException, SystemError) as error:
            what, found = f"writing as {self._id}", reported(error)
            needed = [on_id(self._id), on_topics("Write", (place.topic for place, *_row in rows))]
            if positions is not None:
                needed.append(on_group("Read", positions.name))
            self._failure = unless_away(error_of(found), what, *needed)
            self._failure = self._failure or translated(found, what, *needed)
            raise self._failure from error

    def _put(self, place: TopicPartition, key: bytes, value: bytes | None) -> None:
        while True:
            try:
                return self._producer.produce(place.topic, value, key, place.partition)
            except BufferError:
                # More than the queue takes at once: the brokers empty it, or it fails in the end.
                self._producer.poll(_FULL_S)

    def close(self) -> None:
        # A fenced client says so at every call.
        with suppress(KafkaException, SystemError), as_exception:
            self._producer.purge()
            self._producer.flush(0)


# Control records are few and small, and someone waits for each of them.
_SMALL = {
    "linger.ms": 0,
    "queue.buffering.max.kbytes": 16 * 1024,
    "queue.buffering.max.messages": 10_000,
}
# A status of twenty tasks is a third as large; the user's own setting goes before.
_PACKED = {"compression.type": "zstd"}
_BOUNDED_BY_TRANSACTION = {"socket.timeout.ms", "message.timeout.ms", "delivery.timeout.ms"}
# An idempotent producer waits up to half a second for its id before the first record. One request
# at a time keeps the order too; a repeated row does no harm, since a row replaces its predecessor.
_IN_ORDER = {"enable.idempotence": False, "acks": "all", "max.in.flight": 1}


def _beginning(place: TopicPartition) -> Address:
    return Address(place.topic, place.partition, OFFSET_BEGINNING)
