"""What is known of the records that were handed to the client, since the last commit or abort.

    begin -> (delivered | reported)* -> ends, or failure

Reports cost as much as the sending itself. A transaction fails as a whole, so there they are asked
for only when it is run again to find out why; without transactions nothing else would tell.
"""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message

from streamer.errors import StreamerError
from streamer.ids import TopicPartition
from streamer.kafka.faults import is_refused, is_too_large, translated
from streamer.kafka.refusals import Refusals, attempt
from streamer.kafka.rights import on_topics, refusal

__all__ = ["Deliveries"]

# No reason of its own: what was in the queue when a transaction was aborted. Such a purge reaches
# the client's threads late, and may take records of the next transaction with it.
# Nor has a record whose batch was refused for another one in it.
_DROPPED = (
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._INVALID_DIFFERENT_RECORD,
)


class Deliveries:
    """`ends`: where the changelogs end. `doubt`: a batch was refused although its records fit.
    `written`: the topics to which records were handed; `not_writable` asks which of some may not be
    written, `missing` for the error that names those which are not there."""

    def __init__(
        self,
        refusals: Refusals,
        not_writable: Callable[[list[str]], list[str]] = list,
        missing: Callable[[list[str]], StreamerError | None] = lambda _topics: None,
    ) -> None:
        self._refusals = refusals
        self.not_writable = not_writable
        self.missing = missing
        self.begin()

    def begin(self) -> None:
        self.ends: dict[TopicPartition, int] = {}
        self.failure: StreamerError | None = None
        self.refused = 0
        self.doubt = ""
        self._is_dropped = False
        self.is_alone = False
        self.refusal: KafkaError | None = None
        self.written: set[str] = set()

    @property
    def is_refused(self) -> bool:
        """Whether the brokers refused a batch for a record in it."""
        return bool(self.refused or self.doubt)

    @property
    def has_failed(self) -> bool:
        return self.is_refused or self._is_dropped or self.failure is not None

    def begin_alone(self) -> None:
        """One record is sent by itself, until `is_alone` is reset: a `refusal` is its own."""
        self.is_alone, self.refusal = True, None

    def reported(self, error: KafkaError | None, message: Message) -> None:
        """A callback for any record."""
        if error is None:
            return
        if error.code() in _DROPPED:
            self._is_dropped = True
            return
        topic, key, value = message.topic() or "", message.key(), message.value()
        if is_refused(error):
            if self.is_alone:
                self.refusal = error
            elif self._refusals.suspect(topic, key, value):
                self.refused += 1
            else:
                self._is_dropped = True
        elif not is_too_large(error):
            what = attempt(topic, key, value)
            denied = refusal(error, what, on_topics("Write", [topic]))
            if denied is not None and self._refusals.deny(topic, denied):
                self.refused += 1
            if self.failure is None:
                self.failure = denied or translated(KafkaException(error), what)
        elif self._refusals.add(topic, key, value):
            self.refused += 1
        else:
            self.doubt = self._refusals.doubt(topic)

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """A callback for the last change of a changelog."""
        self.reported(error, message)
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is None and topic is not None and partition is not None and offset is not None:
            self.ends[TopicPartition(topic, partition)] = offset + 1
