"""From librdkafka's errors to ours, in one place."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from streamer.errors import (
    FencedError,
    KafkaUnavailableError,
    RecordTooLargeError,
    StreamerError,
    TopicMissingError,
)
from streamer.kafka.api import AbortableError

__all__ = ["error_of", "translated"]

_FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
    }
)
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_MISSING = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)


def error_of(exception: KafkaException) -> KafkaError:
    error: KafkaError = exception.args[0]
    return error


def translated(exception: KafkaException, what: str) -> StreamerError:
    """The error to raise instead, saying what was attempted."""
    error = error_of(exception)
    code = error.code()
    text = f"{what}: {error.str()}"
    if code in _FENCED or (error.fatal() and "fenced" in error.str().lower()):
        return FencedError(text, hint="another worker with this id has taken over")
    if code in _TOO_LARGE:
        return RecordTooLargeError(
            text,
            hint="raise message.max.bytes of the topic (and of the broker), write smaller records,"
            " or set production_error to skip or dead_letter",
        )
    if code in _MISSING:
        return TopicMissingError(text, hint="create the topic, or mend its name")
    if error.txn_requires_abort():
        return AbortableError(text)
    return KafkaUnavailableError(
        text, hint="check that the brokers run and that bootstrap_servers names them"
    )
