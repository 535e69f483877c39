"""The records of the in-memory broker: logs with offsets, transactions and their markers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from streamer.errors import TopicMissingError
from streamer.ids import TopicPartition
from streamer.record import Headers, Record

__all__ = ["Entry", "FakeTopics", "Log", "Transaction"]


@dataclass(slots=True, eq=False)
class Transaction:
    is_open: bool = True
    is_committed: bool = False
    places: dict[TopicPartition, None] = field(default_factory=dict)


@dataclass(slots=True)
class Entry:
    """A record, or the marker that ends a transaction; `number` orders entries of all topics."""

    number: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers
    transaction: Transaction | None
    is_marker: bool = False

    @property
    def is_visible(self) -> bool:
        if self.is_marker:
            return False
        return self.transaction is None or self.transaction.is_committed


@dataclass(slots=True)
class Log:
    """One partition: its entries by offset, None where compaction removed one."""

    entries: list[Entry | None] = field(default_factory=list)
    first: int = 0
    open: dict[Transaction, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return len(self.entries)

    @property
    def stable_end(self) -> int:
        """Readers of committed records come no further: the first offset of an open transaction."""
        return min(self.open.values(), default=self.end)

    def visible(self, start: int, end: int) -> Iterator[tuple[int, Entry]]:
        for offset in range(max(start, self.first), end):
            entry = self.entries[offset]
            if entry is not None and entry.is_visible:
                yield offset, entry


class FakeTopics:
    """Topics and the transactions in them. `partition_of(key, count)` is the producers'
    partitioner; records without a key go round."""

    def __init__(
        self,
        *,
        partition_of: Callable[[bytes, int], int],
        now_ms: Callable[[], int],
        message_bytes_max: int = 1 << 20,
    ) -> None:
        self._partition_of = partition_of
        self._partitioners: dict[str, Callable[[bytes, int], int]] = {}
        self._now_ms = now_ms
        self._message_bytes_max = message_bytes_max
        self._topics: dict[str, list[Log]] = {}
        self._next_partition: dict[str, int] = {}
        self._written = 0

    # -- topics --------------------------------------------------------------------------------

    def create(
        self,
        topic: str,
        partitions: int,
        partition_of: Callable[[bytes, int], int] | None = None,
    ) -> None:
        """Create a topic, or give it more partitions; its producers may have a partitioner of
        their own."""
        if partition_of is not None:
            self._partitioners[topic] = partition_of
        logs = self._topics.setdefault(topic, [])
        logs += [Log() for _ in range(partitions - len(logs))]

    def delete(self, topic: str) -> None:
        """Delete a topic with all that is in it; what is not there is none."""
        self._topics.pop(topic, None)

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

    def _logs(self, topic: str) -> list[Log]:
        try:
            return self._topics[topic]
        except KeyError:
            raise TopicMissingError(
                f"topic {topic!r} does not exist",
                hint="known are " + ", ".join(sorted(self._topics)),
            ) from None

    def log(self, place: TopicPartition) -> Log:
        logs = self._logs(place.topic)
        if not 0 <= place.partition < len(logs):
            raise TopicMissingError(f"topic {place.topic!r} has no partition {place.partition}")
        return logs[place.partition]

    # -- writing -------------------------------------------------------------------------------

    def choose(self, topic: str, key: bytes | None) -> int:
        """The partition that a producer takes for a key."""
        count = self.partition_count(topic)
        if key is not None:
            return self._partitioners.get(topic, self._partition_of)(key, count)
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
        transaction: Transaction | None = None,
    ) -> int:
        """Write one record and return its offset; without a transaction it is readable at once."""
        log = self.log(place)
        offset = log.end
        if transaction is not None and place not in transaction.places:
            transaction.places[place] = None
            log.open[transaction] = offset
        log.entries.append(
            Entry(
                self._number(),
                key,
                value,
                self._now_ms() if timestamp_ms is None else timestamp_ms,
                list(headers or ()),
                transaction,
            )
        )
        return offset

    def end_transaction(self, transaction: Transaction, *, is_committed: bool) -> None:
        """Write the markers: from here on the records are readable, or never will be."""
        transaction.is_open = False
        transaction.is_committed = is_committed
        for place in transaction.places:
            log = self.log(place)
            del log.open[transaction]
            marker = Entry(
                self._number(), None, None, self._now_ms(), [], transaction, is_marker=True
            )
            log.entries.append(marker)

    def is_too_large(self, key: bytes | None, value: bytes | None) -> bool:
        return len(key or b"") + len(value or b"") > self._message_bytes_max

    def _number(self) -> int:
        self._written += 1
        return self._written


def _record(place: TopicPartition, offset: int, entry: Entry) -> Record:
    return Record(
        key=entry.key,
        value=entry.value,
        timestamp_ms=entry.timestamp_ms,
        headers=list(entry.headers),
        topic=place.topic,
        partition=place.partition,
        offset=offset,
    )
