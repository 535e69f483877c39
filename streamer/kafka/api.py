"""What a worker needs of Kafka, as protocols that the clients and the in-memory broker obey."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamer.errors import RecordRefusedError, StreamerError
from streamer.ids import TopicPartition
from streamer.record import Headers, RawBatch

__all__ = [
    "AbortableError",
    "Committed",
    "Fetched",
    "InputReader",
    "OnRefused",
    "RefusedError",
    "ResultProducer",
]

OnRefused = Callable[[str, bytes | None, bytes | None, RecordRefusedError], None]


class AbortableError(StreamerError):
    """The transaction failed and must be aborted; what it held is processed again."""


class RefusedError(AbortableError):
    """Records were refused. The next try knows more of them and leaves them out."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A committed position and what was written beside it."""

    position: int
    metadata: str = ""


@dataclass(slots=True)
class Fetched:
    """What one fetch brought: batches, the ends of partitions read to their end, and trouble.

    It `is_full` where as much was at hand as it may take: there may be more.
    """

    batches: list[RawBatch] = field(default_factory=list)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    failures: dict[TopicPartition, StreamerError] = field(default_factory=dict)
    is_full: bool = False


class InputReader(Protocol):
    """Reads assigned partitions of input topics. Used by one thread."""

    def add(self, positions: Mapping[TopicPartition, int]) -> None:
        """Begin to read these partitions at these positions."""

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        """Stop reading these partitions; what was fetched of them is dropped."""

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Go on reading at these positions. Records already fetched do not come."""

    def pause(self, partitions: Iterable[TopicPartition]) -> None: ...

    def resume(self, partitions: Iterable[TopicPartition]) -> None: ...

    def fetch(self, records_max: int, timeout_ms: int) -> Fetched:
        """Up to `records_max` records, grouped by partition, after at most `timeout_ms`."""
        ...

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """The group's committed positions; partitions without one are left out.

        Waits for transactions that are still open on them (KIP-447).
        """
        ...

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """(first offset, end) of a partition on the broker."""
        ...

    def known_end(self, partition: TopicPartition) -> int:
        """The end as of the last fetch, -1 where unknown: costs no request."""
        ...

    def group(self) -> Any:
        """What a transaction needs to commit this group's offsets."""

    def close(self) -> None: ...


class ResultProducer(Protocol):
    """Writes results, changelogs and positions, all or nothing. Used by one thread.

    init -> ( begin -> send... -> commit | abort )* -> close
    """

    on_refused: OnRefused | None

    @property
    def is_transactional(self) -> bool: ...

    @property
    def is_open(self) -> bool:
        """Whether a transaction has begun."""
        ...

    def init(self) -> None:
        """Take over the transactional id: whoever held it is fenced, its transaction aborted."""

    def begin(self) -> None:
        """Open a transaction unless one is open."""

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
        """Send results. A record that brokers refuse, such as one that is too large, goes to
        `on_refused`, or is raised as RecordRefusedError where there is none."""

    def send_changes(
        self, changelog: TopicPartition, changes: Sequence[tuple[bytes, bytes | None]]
    ) -> None:
        """Send a store's changes to its changelog partition.

        Raises RecordRefusedError: a change of state is never left out.
        """

    def partition_count(self, topic: str) -> int: ...

    def commit(
        self, positions: Mapping[TopicPartition, Committed], group: Any
    ) -> dict[TopicPartition, int]:
        """Commit everything sent, and these input positions; returns the changelogs' ends.

        Raises FencedError when another producer took the transactional id over, AbortableError
        when the transaction has to be aborted, KafkaUnavailableError when brokers were away for
        too long.
        """
        ...

    def abort(self) -> None:
        """Take back everything sent since the last commit."""

    def close(self) -> None: ...
