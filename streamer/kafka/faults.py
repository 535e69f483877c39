"""From librdkafka's errors to ours, in one place."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from streamer.errors import (
    ConfigError,
    FencedError,
    KafkaUnavailableError,
    RecordTooLargeError,
    StreamerError,
    TopicMissingError,
)
from streamer.kafka.api import AbortableError, RefusedError
from streamer.kafka.rights import Right, refusal

__all__ = [
    "as_exception",
    "error_of",
    "is_denied_topic",
    "is_refused",
    "is_too_large",
    "producer_fault",
    "translated",
]

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
# The record itself is at fault, or so the brokers say of a whole batch: it would be refused again.
_REFUSED = frozenset(
    {
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    }
)
_MISSING = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)

_ADDING = "add partition"


def error_of(exception: KafkaException) -> KafkaError:
    error: KafkaError = exception.args[0]
    return error


def is_too_large(error: KafkaError) -> bool:
    return error.code() in _TOO_LARGE


def is_refused(error: KafkaError) -> bool:
    """Whether a record of the batch is refused, for another reason than its size."""
    return error.code() in _REFUSED


class _AsException:
    """Around calls that serve callbacks. Behind a fatal error the binding may throw a bare
    KafkaError out of them, which is no exception: no `except` that names a type catches it."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, thrown: object, _trace: object) -> None:
        if isinstance(thrown, KafkaError):
            raise KafkaException(thrown)


as_exception = _AsException()


def translated(exception: KafkaException, what: str, *needed: Right) -> StreamerError:
    """The error to raise instead, saying what was attempted; `needed` is what the user must be
    allowed for that."""
    error = error_of(exception)
    code = error.code()
    text = f"{what}: {error.str()}"
    if _is_of_results(error):
        needed = tuple(right for right in needed if right.operation == "Write")
    refused = refusal(error, what, *needed)
    if refused is not None and (needed or not error.txn_requires_abort()):
        # Without `needed` it may be any topic of the transaction, which the next try tells.
        return refused
    if code in _FENCED or (error.fatal() and "fenced" in error.str().lower()):
        return FencedError(text, hint="another worker with this id has taken over")
    if code in _TOO_LARGE:
        if error.txn_requires_abort():
            return RefusedError(text)
        return RecordTooLargeError(
            text, hint="raise max.message.bytes of the topic, or write smaller records"
        )
    if code in _MISSING:
        return TopicMissingError(text, hint="create the topic, or mend its name")
    if error.txn_requires_abort():
        return AbortableError(text)
    return KafkaUnavailableError(
        text, hint="check that the brokers run and that bootstrap_servers names them"
    )


def _is_of_results(error: KafkaError) -> bool:
    """Whether a topic that was written before is refused, whatever call is told of it: librdkafka
    tells the next one, and that needs rights of its own (`rdkafka_txnmgr.c`)."""
    return error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and _ADDING in error.str()


def is_denied_topic(error: BaseException | None) -> bool:
    """Whether an error that was raised here comes from a topic that this user may not use."""
    while error is not None:
        reason = error.args[0] if isinstance(error, KafkaException) else None
        if reason is not None and reason.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return True
        error = error.__cause__
    return False


def producer_fault(reported: KafkaException, what: str, *needed: Right) -> StreamerError:
    """The error to raise for what a producer reported: one that can do no more is replaced."""
    problem = translated(reported, what, *needed)
    error = error_of(reported)
    is_over = error.fatal() or error.code() == KafkaError._FATAL
    if is_over and not isinstance(problem, FencedError | ConfigError):
        # Such as INVALID_TXN_STATE, when a transaction that never began at the broker is aborted.
        # A call that is refused behind a fatal error says _FATAL, without the flag.
        return FencedError(str(problem), hint="the worker joins again with a new producer")
    return problem
