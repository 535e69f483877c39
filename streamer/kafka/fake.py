"""An in-memory broker that obeys the protocols of `streamer.kafka.api`.

It keeps what Kafka keeps: offsets with transaction markers among them, the last stable offset, a
group's positions, epochs of transactional ids. A reader sees committed records only, and what a
producer wrote and did not commit is aborted when its transactional id is taken over. Faults are
asked for by `fail_next`. It is deterministic: no threads, no waiting, no clock of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamer.errors import FencedError, RecordTooLargeError, TaskCorruptedError
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed, Fetched, OnRefused
from streamer.kafka.fake_log import Entry, FakeTopics, Transaction
from streamer.record import Headers, RawBatch

__all__ = ["FakeBroker", "FakeProducer", "FakeReader"]

_ANY_PARTITION = -1


class FakeBroker(FakeTopics):
    """Topics, groups and transactional ids; made like `FakeTopics`."""

    def __init__(self, **topics: Any) -> None:
        super().__init__(**topics)
        self._faults: dict[str, list[Exception]] = {}
        self.groups: dict[str, dict[TopicPartition, Committed]] = {}
        self.epochs: dict[str, int] = {}
        self.transactions: dict[str, Transaction] = {}

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
        found: list[tuple[int, Entry]] = []
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
                    read_headers=lambda: [entry.headers for entry in entries],
                )
            )
        return len(found)

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        known = self._broker.groups.get(self._group, {})
        return {place: known[place] for place in partitions if place in known}

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        return self._broker.bounds(partition)

    def known_end(self, partition: TopicPartition) -> int:
        return self._broker.bounds(partition)[1]

    def group(self) -> Any:
        return self._group

    def close(self) -> None:
        self._positions.clear()


class FakeProducer:
    """A ResultProducer; without a transactional id its results are readable at once, while changes
    and positions still wait for the commit."""

    def __init__(self, broker: FakeBroker, transactional_id: str | None) -> None:
        self._broker = broker
        self._id = transactional_id
        self._epoch = -1
        self._transaction: Transaction | None = None
        self._is_open = False
        self._ends: dict[TopicPartition, int] = {}
        self._waiting: list[tuple[TopicPartition, bytes, bytes | None]] = []
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
            self._transaction = self._broker.transactions[self._id] = Transaction()

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
        on_refused, self.on_refused = self.on_refused, None  # a change is never left out
        try:
            for key, value in changes:
                self._check_size(changelog.topic, key, value)
                if self._id is None:
                    self._waiting.append((changelog, key, value))
                else:
                    self._send_change(changelog, key, value)
        finally:
            self.on_refused = on_refused

    def _send_change(self, changelog: TopicPartition, key: bytes, value: bytes | None) -> None:
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
        if not self._check_size(topic, key, value):
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

    def _check_size(self, topic: str, key: bytes | None, value: bytes | None) -> bool:
        if not self._broker.is_too_large(key, value):
            return True
        size = len(key or b"") + len(value or b"")
        error = RecordTooLargeError(f"writing {size} bytes to {topic}, key {key!r}: too large")
        if self.on_refused is None:
            raise error
        self.on_refused(topic, key, value, error)
        return False

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
        for change in self._waiting:
            self._send_change(*change)
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
        self._waiting = []
        self._transaction = None
        if self._id is not None:
            self._broker.transactions.pop(self._id, None)

    def close(self) -> None:
        """An open transaction is left to the next owner of the id to abort."""
        self._is_open = False
