"""Which records the brokers refuse: known exactly, so that no other is left out.

Size: a broker measures batches, and librdkafka never splits one that was refused. So batches are
made smaller than the least limit of all topics that are written: one that is larger than its
topic's limit then holds one record, whose own size says so. A refused batch of smaller ones means
that the limit was lowered meanwhile, and the limits are read again.

Anything else: the report of a batch does not tell for certain which of its records was at fault,
so those named are suspects, which the next try sends one by one. A topic may refuse them all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from confluent_kafka import KafkaError

from streamer.errors import (
    KafkaUnavailableError,
    RecordRefusedError,
    RecordTooLargeError,
    StreamerError,
)
from streamer.record import Headers

__all__ = ["Refusals", "Sent", "attempt", "record_batch_bytes"]

_log = logging.getLogger(__name__)

# What librdkafka uses for batch.size and message.max.bytes unless told otherwise.
_DEFAULT_BYTES = 1_000_000
_BATCH_HEADER_BYTES = 61
# Librdkafka does not count the header of a batch; the rest is for its rounding.
_FRAMING_BYTES = 2 * _BATCH_HEADER_BYTES
_NOT_COMPRESSED = {"none", "inherit"}
_SHOWN_KEY_BYTES = 100

Limits = Mapping[str, int]
# Topic, key, value, headers and timestamp of a record (changelog records leave that to the broker).
Sent = tuple[str, bytes | None, bytes | None, Headers | None, int | None]

# Of two tries the first finds suspects and the second tries them one by one.
_FRUITLESS_MAX = 5

_NO_KEY_HINT = (
    "a topic that is compacted takes no record without a key: give it one, let the topic not be"
    " compacted, or set production_error to skip or dead_letter"
)
_INVALID_HINT = (
    "most often the timestamp is outside of what the topic takes (message.timestamp.before.max.ms"
    " and after.max.ms), or the broker checks records: mend the record or the topic, or set"
    " production_error to skip or dead_letter"
)


class Refusals:
    """`batch_bytes` is the batch.size to use, `client_limit` the largest record that the client
    takes. `ask` reads the limits of the topics. All in bytes."""

    def __init__(self, ask: Callable[[], Limits], made: Mapping[str, Any]) -> None:
        self._ask = ask
        self._batch_bytes_max = int(made.get("batch.size", _DEFAULT_BYTES))
        self.client_limit = int(made.get("message.max.bytes", _DEFAULT_BYTES))
        codecs = {made.get(name, "none") for name in ("compression.type", "compression.codec")}
        self._compresses = not codecs <= _NOT_COMPRESSED
        self._known: set[bytes] = set()
        self._suspects: set[bytes] = set()
        self._refused: dict[tuple[bytes, int | None], RecordRefusedError] = {}
        self._denied: dict[str, StreamerError] = {}
        self._fruitless = 0
        self._limits = ask()
        self.batch_bytes = self._fitting()
        if self.batch_bytes < self._batch_bytes_max:
            _log.info("batches of at most %d bytes: %s", self.batch_bytes, self._least())

    @property
    def count(self) -> int:
        """How many records were refused since the last commit."""
        return len(self._known) + len(self._refused)

    def read_limits(self) -> str:
        """Ask for the limits again. Says why if batches of `batch_bytes` no longer fit, which only
        another client can change."""
        try:
            self._limits = self._ask()
        except KafkaUnavailableError as error:
            _log.warning("the limits of the topics could not be read: %s", error)
        return self._least() if self._fitting() < self.batch_bytes else ""

    def _fitting(self) -> int:
        least = min(self._limits.values(), default=self._batch_bytes_max + _FRAMING_BYTES)
        return max(min(self._batch_bytes_max, least - _FRAMING_BYTES), 1)

    def _least(self) -> str:
        topic = min(self._limits, key=self._limits.__getitem__)
        return f"{topic} takes no more than {self._limits[topic]} (max.message.bytes)"

    def add(self, topic: str, key: bytes | None, value: bytes | None) -> bool:
        """A broker refused a batch with this record: whether the record itself is the reason."""
        limit = self._limits.get(topic)
        if limit is None or record_batch_bytes(key, value) <= limit:
            return False
        self._known.add(_digest(topic, key, value))
        self._fruitless = 0
        return True

    def find(
        self, topic: str, key: bytes | None, value: bytes | None, *, headers: Headers | None
    ) -> RecordTooLargeError | None:
        """Why a record is not to be sent again. Without compression its size alone tells."""
        limit = self._limits.get(topic)
        if limit is None or record_batch_bytes(key, value, headers) <= limit:
            return None
        if self._compresses and _digest(topic, key, value) not in self._known:
            return None
        even = " even compressed," if self._compresses else ""
        return RecordTooLargeError(
            f"{attempt(topic, key, value)}: too large,{even} for the {limit} bytes that the topic"
            " takes (max.message.bytes)",
            hint="raise max.message.bytes of the topic (no more than its segment.bytes), write"
            " smaller records, or set production_error to skip or dead_letter",
        )

    def suspect(self, topic: str, key: bytes | None, value: bytes | None) -> bool:
        """A batch with this record was refused, maybe for it. Returns whether that is news."""
        before = len(self._suspects)
        self._suspects.add(_digest(topic, key, value))
        return len(self._suspects) > before

    def is_suspect(self, topic: str, key: bytes | None, value: bytes | None) -> bool:
        return bool(self._suspects) and _digest(topic, key, value) in self._suspects

    def acquit(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """This record was taken by itself."""
        self._suspects.discard(_digest(topic, key, value))
        self._fruitless = 0

    def tried(self) -> None:
        """One more try has failed."""
        self._fruitless += 1

    @property
    def is_fruitless(self) -> bool:
        """Whether try after try tells nothing of any record, since they are others each time."""
        return self._fruitless > _FRUITLESS_MAX

    def convict(self, record: Sent, error: KafkaError) -> RecordRefusedError:
        """This record was refused by itself, for what the broker said."""
        topic, key, value, _headers, timestamp_ms = record
        self._fruitless = 0
        said = error.str()
        what = attempt(topic, key, value)
        if timestamp_ms is None:
            text = f"{what}: {said}"
        else:
            text = f"{what}, timestamp {timestamp_ms}: {said}"
        problem = RecordRefusedError(text, hint=_NO_KEY_HINT if key is None else _INVALID_HINT)
        # A dead letter has the time of its try: only where the time is at fault it is told by it.
        is_for_its_time = error.code() == KafkaError.INVALID_TIMESTAMP
        time_ms = timestamp_ms if is_for_its_time else None
        self._refused[_digest(topic, key, value), time_ms] = problem
        return problem

    def convicted(self, record: Sent) -> RecordRefusedError | None:
        """Why this very record was refused before, if it was."""
        if not self._refused:
            return None
        topic, key, value, _headers, timestamp_ms = record
        digest = _digest(topic, key, value)
        return self._refused.get((digest, None)) or self._refused.get((digest, timestamp_ms))

    def deny(self, topic: str, problem: StreamerError) -> bool:
        """The brokers refuse whatever this client writes to a topic: returns whether it is news."""
        return self._denied.setdefault(topic, problem) is problem

    @property
    def denial(self) -> StreamerError | None:
        """Why there is a topic that may not be written, if there is one."""
        return next(iter(self._denied.values()), None)

    def check(self, topic: str) -> None:
        """Raise why nothing may be written to a topic, if so."""
        if topic in self._denied:
            raise self._denied[topic]

    def committed(self) -> None:
        """What was refused is dealt with."""
        self._known.clear()
        self._suspects.clear()
        self._refused.clear()
        self._denied.clear()
        self._fruitless = 0

    def by_client(self, topic: str, key: bytes | None, value: bytes | None) -> RecordTooLargeError:
        """The client itself takes no such record."""
        return RecordTooLargeError(
            f"{attempt(topic, key, value)}: too large for the {self.client_limit} bytes that this"
            " worker's client takes (message.max.bytes)",
            hint="set message.max.bytes in kafka, and max.message.bytes of the topic, or write"
            " smaller records, or set production_error to skip or dead_letter",
        )

    def doubt(self, topic: str) -> str:
        """What to say of refused batches whose every record should fit."""
        limit = self._limits.get(topic)
        if limit is None:
            return (
                f"the brokers refuse a batch to {topic} for its size, and the topic's"
                " max.message.bytes may not be read: grant the right to describe its settings"
            )
        return f"the brokers refuse a batch to {topic} of records that fit its {limit} bytes"


def record_batch_bytes(
    key: bytes | None, value: bytes | None, headers: Headers | None = None
) -> int:
    """The size that a broker sees of this record alone, not compressed (format 2, KIP-98)."""
    body = 3 + _part_bytes(key) + _part_bytes(value) + _varint_bytes(len(headers or ()))
    for name, content in headers or ():
        body += _part_bytes(name.encode()) + _part_bytes(content)
    return _BATCH_HEADER_BYTES + _varint_bytes(body) + body


def _digest(topic: str, key: bytes | None, value: bytes | None) -> bytes:
    """Stands for a record: keeping those that are too large would take too much memory. Reports of
    deliveries do not give headers back, so records that differ in them alone are one."""
    heads = (topic, key, value is None)
    return blake2b((value or b"") + repr(heads).encode(), digest_size=32).digest()


def _part_bytes(part: bytes | None) -> int:
    return 1 if part is None else _varint_bytes(len(part)) + len(part)


def _varint_bytes(number: int) -> int:
    """Seven bits a byte; a sign doubles the number."""
    return max((2 * number).bit_length() + 6, 7) // 7


def attempt(topic: str, key: bytes | None, value: bytes | None) -> str:
    """What was tried, for an error's message."""
    shown = repr(key)
    if key is not None and len(key) > _SHOWN_KEY_BYTES:
        shown = f"{key[:_SHOWN_KEY_BYTES]!r}... ({len(key)} bytes)"
    return f"writing {len(key or b'') + len(value or b'')} bytes to {topic}, key {shown}"
