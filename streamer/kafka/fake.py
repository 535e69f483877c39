"""An in-memory broker that obeys the protocols of `streamer.kafka.api`.

It keeps what Kafka keeps: offsets with transaction markers among them, the last stable offset, a
group's positions, epochs of transactional ids. A reader sees committed records only, and what a
producer wrote and did not commit is aborted when its transactional id is taken over. Faults are
asked for by `fail_next`. It is deterministic: no threads, no waiting, no clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamer.errors import FencedError, RecordTooLargeError, TaskCorruptedError, TopicMissingError
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed, Fetched, OnRefused
from streamer.record import Headers, RawBatch, Record

__all__ = ["FakeBroker", "FakeProducer", "FakeReader"]

_ANY_PARTITION = -1


@dataclass(slots=True, eq=False)
class _Transaction:
    is_open: bool = True
    is_committed: bool = False
    places: dict[TopicPartition, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Entry:
    """A record, or the marker that ends a transaction; `number` orders entries of all topics."""

    number: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers
    transaction: _Transaction | None
    is_marker: bool = False

    @property
    def is_visible(self) -> bool:
        if self.is_marker:
            return False
        return self.transaction is None or self.transaction.is_committed


@dataclass(slots=True)
class _Log:
    """One partition: its entries by offset, None where compaction removed one."""

    entries: list[_Entry | None] = field(default_factory=list)
    first: int = 0
    open: dict[_Transaction, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return len(self.entries)

    @property
    def stable_end(self) -> int:
        """Readers of committed records come no further: the first offset of an open transaction."""
        return min(self.open.values(), default=self.end)

    def visible(self, start: int, end: int) -> Iterator[tuple[int, _Entry]]:
        for offset in range(max(start, self.first), end):
            entry = self.entries[offset]
            if entry is not None and entry.is_visible:
                yield offset, entry


class FakeBroker:
    """Topics, groups and transactional ids. `partition_of(key, count)` is the producers'
    partitioner; records without a key go round."""

    def __init__(
        self,
        *,
        partition_of: Callable[[bytes, int], int],
        now_ms: Callable[[], int],
        message_bytes_max: int = 1 << 20,
    ) -> None:
        self._partition_of = partition_of
        self._now_ms = now_ms
        self._message_bytes_max = message_bytes_max
        self._topics: dict[str, list[_Log]] = {}
        self._next_partition: dict[str, int] = {}
        self._faults: dict[str, list[Exception]] = {}
        self._written = 0
        self.groups: dict[str, dict[TopicPartition, Committed]] = {}
        self.epochs: dict[str, int] = {}
        self.transactions: dict[str, _Transaction] = {}

    # -- topics --------------------------------------------------------------------------------

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic, or give it more partitions."""
        logs = self._topics.setdefault(topic, [])
        logs += [_Log() for _ in range(partitions - len(logs))]

    @property
    def topics(self) -> dict[str, int]:
        return {topic: len(logs) for topic, logs in self._topics.items()}

    def partition_count(self, topic: str) -> int:
        return len(self._logs(topic))

    def bounds(self, place: TopicPartition) -> tuple[int, int]:
        """(first offset, end)"""
        log = self.log(place)
        return log.first, log.end

    def records(self, topic: str, *, start: int = 0) -> list[Record]:
        """Committed records in the order in which they were written, undecoded."""
        found = [
            (entry.number, _record(TopicPartition(topic, partition), offset, entry))
            for partition, log in enumerate(self._logs(topic))
            for offset, entry in log.visible(start, log.stable_end)
        ]
        return [record for _number, record in sorted(found, key=lambda pair: pair[0])]

    def partition_records(self, place: TopicPartition, *, start: int = 0) -> list[Record]:
        """Committed records of one partition from an offset on."""
        log = self.log(place)
        return [_record(place, offset, entry) for offset, entry in log.visible(start, log.end)]

    def compact(self, topic: str) -> None:
        """Keep only the newest committed record of every key, and no tombstones."""
        for log in self._logs(topic):
            newest = {entry.key: offset for offset, entry in log.visible(0, log.stable_end)}
            for offset, entry in list(log.visible(0, log.stable_end)):
                if newest[entry.key] != offset or entry.value is None:
                    log.entries[offset] = None

    def delete_before(self, place: TopicPartition, offset: int) -> None:
        """What retention does, or a trim: records below the offset are gone."""
        log = self.log(place)
        log.first = max(log.first, min(offset, log.end))

    def _logs(self, topic: str) -> list[_Log]:
        try:
            return self._topics[topic]
        except KeyError:
            raise TopicMissingError(
                f"topic {topic!r} does not exist",
                hint="known are " + ", ".join(sorted(self._topics)),
            ) from None

    def log(self, place: TopicPartition) -> _Log:
        logs = self._logs(place.topic)
        if not 0 <= place.partition < len(logs):
            raise TopicMissingError(f"topic {place.topic!r} has no partition {place.partition}")
        return logs[place.partition]

    # -- writing -------------------------------------------------------------------------------

    def choose(self, topic: str, key: bytes | None) -> int:
        """The partition that a producer takes for a key."""
        count = self.partition_count(topic)
        if key is not None:
            return self._partition_of(key, count)
        chosen = self._next_partition.get(topic, 0)
        self._next_partition[topic] = chosen + 1
        return chosen % count

    def append(
        self,
        place: TopicPartition,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
        transaction: _Transaction | None = None,
    ) -> int:
        """Write one record and return its offset; without a transaction it is readable at once."""
        log = self.log(place)
        offset = log.end
        if transaction is not None and place not in transaction.places:
            transaction.places[place] = None
            log.open[transaction] = offset
        log.entries.append(
            _Entry(
                self._number(),
                key,
                value,
                self._now_ms() if timestamp_ms is None else timestamp_ms,
                list(headers or ()),
                transaction,
            )
        )
        return offset

    def end_transaction(self, transaction: _Transaction, *, is_committed: bool) -> None:
        """Write the markers: from here on the records are readable, or never will be."""
        transaction.is_open = False
        transaction.is_committed = is_committed
        for place in transaction.places:
            log = self.log(place)
            del log.open[transaction]
            marker = _Entry(
                self._number(), None, None, self._now_ms(), [], transaction, is_marker=True
            )
            log.entries.append(marker)

    def is_too_large(self, key: bytes | None, value: bytes | None) -> bool:
        return len(key or b"") + len(value or b"") > self._message_bytes_max

    def _number(self) -> int:
        self._written += 1
        return self._written

    # -- faults --------------------------------------------------------------------------------

    def fail_next(self, operation: str, *errors: Exception) -> None:
        """Have the next calls of an operation (`send`, `commit`, `fetch`) raise these, in turn."""
        self._faults.setdefault(operation, []).extend(errors)

    def check(self, operation: str) -> None:
        """Raise the fault that waits for this operation, if one does."""
        waiting = self._faults.get(operation)
        if waiting:
            raise waiting.pop(0)

    # -- clients -------------------------------------------------------------------------------

    def reader(self, group: str) -> FakeReader:
        return FakeReader(self, group)

    def producer(self, transactional_id: str | None) -> FakeProducer:
        return FakeProducer(self, transactional_id)


def _record(place: TopicPartition, offset: int, entry: _Entry) -> Record:
    return Record(
        key=entry.key,
        value=entry.value,
        timestamp_ms=entry.timestamp_ms,
        headers=list(entry.headers),
        topic=place.topic,
        partition=place.partition,
        offset=offset,
    )


class FakeReader:
    """An InputReader. Like librdkafka it tells once that a partition's end is reached, and again
    after a seek or when more had come."""

    def __init__(self, broker: FakeBroker, group: str) -> None:
        self._broker = broker
        self._group = group
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._told: dict[TopicPartition, int] = {}

    def add(self, positions: Mapping[TopicPartition, int]) -> None:
        self._positions.update(positions)

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        for place in list(partitions):
            del self._positions[place]
            self._paused.discard(place)
            self._told.pop(place, None)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        for place, position in positions.items():
            assert place in self._positions, f"{place} is not being read"
            self._positions[place] = position
            self._told.pop(place, None)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused.difference_update(partitions)

    def fetch(self, records_max: int, timeout_ms: int) -> Fetched:
        """What is there; it never waits."""
        self._broker.check("fetch")
        fetched = Fetched()
        left = records_max
        for place in list(self._positions):
            if place in self._paused:
                continue
            if self._positions[place] < self._broker.log(place).first:
                fetched.failures[place] = TaskCorruptedError(
                    f"{place}: the position to read next is not in the topic any more"
                )
                continue
            left -= self._fetch(place, left, fetched)
        return fetched

    def _fetch(self, place: TopicPartition, records_max: int, fetched: Fetched) -> int:
        log = self._broker.log(place)
        found: list[tuple[int, _Entry]] = []
        end = log.stable_end
        for offset, entry in log.visible(self._positions[place], end):
            if len(found) == records_max:
                break
            found.append((offset, entry))
            self._positions[place] = offset + 1
        else:
            self._positions[place] = max(end, self._positions[place])
            if self._told.get(place) != end:
                self._told[place] = end
                fetched.ends[place] = end
        if found:
            entries = [entry for _offset, entry in found]
            fetched.batches.append(
                RawBatch(
                    topic=place.topic,
                    partition=place.partition,
                    keys=[entry.key for entry in entries],
                    values=[entry.value for entry in entries],
                    timestamps=[entry.timestamp_ms for entry in entries],
                    offsets=[offset for offset, _entry in found],
                    headers_at=lambda row: list(entries[row].headers),
                )
            )
        return len(found)

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        known = self._broker.groups.get(self._group, {})
        return {place: known[place] for place in partitions if place in known}

    def commit(self, positions: Mapping[TopicPartition, Committed]) -> None:
        self._broker.groups.setdefault(self._group, {}).update(positions)

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        return self._broker.bounds(partition)

    def known_end(self, partition: TopicPartition) -> int:
        return self._broker.bounds(partition)[1]

    def group(self) -> Any:
        return self._group

    def close(self) -> None:
        self._positions.clear()


class FakeProducer:
    """A ResultProducer; without a transactional id what it sends is readable at once."""

    def __init__(self, broker: FakeBroker, transactional_id: str | None) -> None:
        self._broker = broker
        self._id = transactional_id
        self._epoch = -1
        self._transaction: _Transaction | None = None
        self._is_open = False
        self._ends: dict[TopicPartition, int] = {}
        self.on_refused: OnRefused | None = None

    @property
    def is_transactional(self) -> bool:
        return self._id is not None

    @property
    def is_open(self) -> bool:
        return self._is_open

    def init(self) -> None:
        if self._id is None:
            return
        self._epoch = self._broker.epochs[self._id] = self._broker.epochs.get(self._id, -1) + 1
        left = self._broker.transactions.pop(self._id, None)
        if left is not None:
            self._broker.end_transaction(left, is_committed=False)

    @property
    def _is_fenced(self) -> bool:
        return self._id is not None and self._broker.epochs.get(self._id) != self._epoch

    def begin(self) -> None:
        if self._is_open:
            return
        self._is_open = True
        self._ends = {}
        if self._id is not None and not self._is_fenced:
            self._transaction = self._broker.transactions[self._id] = _Transaction()

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
        self.begin()
        self._broker.check("send")
        self._broker.partition_count(topic)
        for row, key in enumerate(keys):
            chosen = _ANY_PARTITION if partitions is None else partitions[row]
            self._send(
                topic,
                chosen,
                key,
                value=values[row],
                timestamp_ms=timestamps[row],
                headers=None if headers is None else headers[row],
            )

    def send_changes(
        self, changelog: TopicPartition, changes: Sequence[tuple[bytes, bytes | None]]
    ) -> None:
        self.begin()
        self._broker.check("send")
        for key, value in changes:
            offset = self._send(changelog.topic, changelog.partition, key, value=value)
            if offset is not None:
                self._ends[changelog] = offset + 1

    def _send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        *,
        value: bytes | None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> int | None:
        if self._broker.is_too_large(key, value):
            size = len(key or b"") + len(value or b"")
            error = RecordTooLargeError(f"writing {size} bytes to {topic}, key {key!r}: too large")
            if self.on_refused is None:
                raise error
            self.on_refused(topic, key, value, error)
            return None
        if self._is_fenced or (self._transaction is not None and not self._transaction.is_open):
            return None
        if partition == _ANY_PARTITION:
            partition = self._broker.choose(topic, key)
        return self._broker.append(
            TopicPartition(topic, partition),
            key,
            value,
            timestamp_ms=timestamp_ms,
            headers=headers,
            transaction=self._transaction,
        )

    def partition_count(self, topic: str) -> int:
        return self._broker.partition_count(topic)

    def commit(
        self, positions: Mapping[TopicPartition, Committed], group: Any
    ) -> dict[TopicPartition, int]:
        self.begin()
        self._refuse_fenced("committing a transaction")
        self._broker.check("commit")
        if self._transaction is not None:
            self._broker.end_transaction(self._transaction, is_committed=True)
            self._broker.groups.setdefault(group, {}).update(positions)
        self._end()
        return self._ends

    def abort(self) -> None:
        self._refuse_fenced("aborting a transaction")
        if self._transaction is not None:
            self._broker.end_transaction(self._transaction, is_committed=False)
        self._end()

    def _refuse_fenced(self, what: str) -> None:
        if self._is_fenced:
            raise FencedError(
                f"{what}: the epoch of {self._id!r} is over",
                hint="another worker with this id has taken over",
            )

    def _end(self) -> None:
        self._is_open = False
        self._transaction = None
        if self._id is not None:
            self._broker.transactions.pop(self._id, None)

    def close(self) -> None:
        """An open transaction is left to the next owner of the id to abort."""
        self._is_open = False
