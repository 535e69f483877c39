"""The worker's output: its producer, which is replaced after a fence, and its error policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

from streamer import metrics
from streamer.config import Config
from streamer.errors import RecordRefusedError, RecordTooLargeError
from streamer.ids import TopicPartition, is_strays_topic
from streamer.kafka.api import Committed, OnRefused, ResultProducer
from streamer.record import Headers

__all__ = ["WorkerOutput"]


_TEXT_LENGTH_MAX = 2_000


class WorkerOutput:
    """A ResultProducer that counts what it sends and applies `production_error`.

    `inputs` tells where each input partition stood at the last commit.
    """

    on_refused: OnRefused | None = None
    inputs: Callable[[], Mapping[TopicPartition, int]] = staticmethod(dict)

    def __init__(
        self, config: Config, producer: ResultProducer, *, stamp: Headers | None = None
    ) -> None:
        """`stamp` stands at the end of the headers of all that goes to topics of others."""
        self._config = config
        self._stamp = stamp or []
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
        if self._stamp and not topic.startswith(f"{self._config.application_id}-"):
            headers = [[*each, *self._stamp] for each in headers or repeat([], len(keys))]
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
        """The brokers refuse a result: skip it, or put it aside."""
        if topic == self._config.dead_letter_topic:
            # What was to be kept would be lost.
            raise error
        if is_strays_topic(self._config.application_id, topic):
            raise RecordRefusedError(
                f"a record on its way to its key's task is refused: {error}",
                hint=f"see to the settings of {topic}: it is no result, and is never skipped, so"
                " the task goes on from its last commit once it is taken",
            ) from error
        self._left_out += 1  # counted with the commit: it is met again in every try
        if self._config.production_error == "dead_letter":
            kept = None if isinstance(error, RecordTooLargeError) else value
            headers = self._cause(topic, value, error)
            self._producer.send(
                self._config.dead_letter_topic, [key], [kept], timestamps=[0], headers=[headers]
            )

    def _cause(self, topic: str, value: bytes | None, error: RecordRefusedError) -> Headers:
        """A result may stand for many records, so none is named: they are behind the positions of
        the last commit. The names are those of `Policy`, where they mean the same."""
        since = ", ".join(f"{place}: {offset}" for place, offset in sorted(self.inputs().items()))
        cause = {
            "exception": f"{type(error).__module__}.{type(error).__qualname__}",
            "message": str(error),
            "place": "writing",
            "topic": "(result)",
            "partition": -1,
            "offset": -1,
            "output": topic,
            "size": len(value or b""),
            "inputs": since[:_TEXT_LENGTH_MAX],
        }
        return [(f"__streamer.errors.{name}", str(text).encode()) for name, text in cause.items()]
