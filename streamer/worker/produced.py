"""The worker's output: its producer, which is replaced after a fence, and its error policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamer import metrics
from streamer.config import Config
from streamer.errors import RecordRefusedError, RecordTooLargeError
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed, OnRefused, ResultProducer
from streamer.record import Headers

__all__ = ["WorkerOutput"]


class WorkerOutput:
    """A ResultProducer that counts what it sends and applies `production_error`."""

    on_refused: OnRefused | None = None

    def __init__(self, config: Config, producer: ResultProducer) -> None:
        self._config = config
        self.renew(producer)

    def renew(self, producer: ResultProducer) -> None:
        """Go on with another producer, after this one was fenced."""
        self._producer = producer
        self._left_out = 0
        if self._config.production_error != "stop":
            producer.on_refused = self._refused

    @property
    def is_transactional(self) -> bool:
        return self._producer.is_transactional

    @property
    def is_open(self) -> bool:
        return self._producer.is_open

    def init(self) -> None:
        self._producer.init()

    def begin(self) -> None:
        self._producer.begin()

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
        metrics.records_produced.labels(topic).inc(len(keys))
        self._producer.send(
            topic, keys, values, timestamps=timestamps, headers=headers, partitions=partitions
        )

    def send_changes(
        self, changelog: TopicPartition, changes: Sequence[tuple[bytes, bytes | None]]
    ) -> None:
        metrics.changelog_records.labels(changelog.topic).inc(len(changes))
        try:
            self._producer.send_changes(changelog, changes)
        except RecordTooLargeError as error:
            raise RecordTooLargeError(
                f"the state of a key is too large: {error}",
                hint=f"raise max.message.bytes of {changelog.topic} and message.max.bytes in kafka,"
                " or keep less under one key; a change of state is never skipped, so the task goes"
                " on from its last commit once it fits",
            ) from error
        except RecordRefusedError as error:
            raise RecordRefusedError(
                f"a change of state is refused: {error}",
                hint=f"see to the settings of {changelog.topic}: a change of state is never"
                " skipped, so the task goes on from its last commit once it is taken",
            ) from error

    def partition_count(self, topic: str) -> int:
        return self._producer.partition_count(topic)

    def commit(
        self, positions: Mapping[TopicPartition, Committed], group: Any
    ) -> dict[TopicPartition, int]:
        ends = self._producer.commit(positions, group)
        if self._left_out:
            action = self._config.production_error
            metrics.errors.labels("-", "production", action).inc(self._left_out)
            if action == "dead_letter":
                metrics.dead_letters.labels("-").inc(self._left_out)
            self._left_out = 0
        return ends

    def abort(self) -> None:
        self._left_out = 0
        self._producer.abort()

    def close(self) -> None:
        self._producer.close()

    def _refused(
        self, topic: str, key: bytes | None, value: bytes | None, error: RecordRefusedError
    ) -> None:
        """The brokers refuse a result: skip it, or keep its key and the reason."""
        if topic == self._config.dead_letter_topic:
            # What was to be kept would be lost.
            raise error
        self._left_out += 1  # counted with the commit: it is met again in every try
        if self._config.production_error == "dead_letter":
            headers: Headers = [
                ("__streamer.errors.message", str(error).encode()),
                ("__streamer.errors.topic", topic.encode()),
                ("__streamer.errors.place", b"writing"),
                ("__streamer.errors.size", str(len(value or b"")).encode()),
            ]
            # The value may be what was too large; its key and the cause are kept.
            self._producer.send(
                self._config.dead_letter_topic, [key], [None], timestamps=[0], headers=[headers]
            )
