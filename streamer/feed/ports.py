"""What a feed needs of Kafka, as a protocol; and the clients that obey it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from streamer.changelog.topics import changelog_settings
from streamer.config import Config
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.admin import Admin
from streamer.kafka.api import Committed, InputReader, ResultProducer
from streamer.kafka.consumer import InputConsumer
from streamer.kafka.positions import committed
from streamer.kafka.producer import WorkerProducer
from streamer.kafka.writer import Writer

__all__ = ["KafkaPorts", "Ports"]

# Who asks tries again, and looks after its own deadline between two tries.
_ASK_S = 10.0


class Ports(Protocol):
    """Requests raise KafkaUnavailableError where brokers are away, and StoppedError when told."""

    @property
    def stopping(self) -> threading.Event:
        """Whoever sets it ends all waiting."""
        ...

    @property
    def delete_retention_ms(self) -> int:
        """How long changelogs keep the record of a removal."""
        ...

    def reader(self, group: str) -> InputReader: ...

    def producer(
        self, name: str, topics: Sequence[str], *, is_over: Callable[[], bool]
    ) -> ResultProducer:
        """`name` is both its transactional id and the group whose positions it commits, `topics`
        are those that it writes. Once `is_over` says so, it waits for brokers no longer."""
        ...

    def committed(
        self, group: str, places: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        """Once no transaction is open on them; places without one are left out."""
        ...

    def known(
        self, group: str, places: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        """The same as they were before open transactions, such as of a process that has died."""
        ...

    def starts(self, places: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]: ...

    def ends(self, places: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """High watermarks: open transactions included."""
        ...

    def stable_ends(self, places: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The ends before the first transaction that is still open."""
        ...

    def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        """Raises TopicMissingError with the names of those that do not exist."""
        ...


class KafkaPorts:
    """For the feeds of one process, `shares` of which divide the memory that `config` gives the
    input and the producer. May be used by several threads."""

    def __init__(self, config: Config, *, stopping: threading.Event, shares: int = 1) -> None:
        self._config = config
        self._stopping = stopping
        self._shares = shares
        self._admin = Admin(config, timeout_s=_ASK_S, stopping=stopping)
        # Asked for with every batch.
        self._delete_retention_ms = int(changelog_settings(config)["delete.retention.ms"])

    @property
    def stopping(self) -> threading.Event:
        return self._stopping

    @property
    def delete_retention_ms(self) -> int:
        return self._delete_retention_ms

    def reader(self, group: str) -> InputReader:
        made = settings.feed_consumer(self._config, group, shares=self._shares)
        return InputConsumer(self._config, made, shares=self._shares)

    def producer(
        self, name: str, topics: Sequence[str], *, is_over: Callable[[], bool]
    ) -> ResultProducer:
        return WorkerProducer(
            self._config,
            name,
            limits=lambda: self._admin.message_limits(topics),
            stopping=self._stopping,
            queues=self._shares,
            writer=partial(Writer, group=name, is_over=is_over),
        )

    def committed(
        self, group: str, places: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        return committed(self._config, group, places, timeout_s=_ASK_S, stopping=self._stopping)

    def known(
        self, group: str, places: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        return committed(
            self._config,
            group,
            places,
            timeout_s=_ASK_S,
            stopping=self._stopping,
            is_stable=False,
        )

    def starts(self, places: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return self._admin.starts(places)

    def ends(self, places: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return self._admin.ends(places, "read_uncommitted")

    def stable_ends(self, places: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return self._admin.ends(places, "read_committed")

    def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        return self._admin.partitions(topics)
