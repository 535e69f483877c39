"""What lies before each payload in the registry's wire format, and where a serde stands.

A zero byte and the schema's id as four bytes; for Protobuf, then the message's path in its file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Generic, Literal, NoReturn, TypeVar

from streamer.errors import SerdeError

__all__ = [
    "HEADER_BYTES",
    "Place",
    "SubjectName",
    "Unbound",
    "detail",
    "header",
    "path",
    "schema_id",
]

T = TypeVar("T")

SubjectName = Literal["topic", "record", "topic-record"]
HEADER_BYTES = 5
_HEADER = struct.Struct(">BI")
_MAGIC = 0
_VARINT_BITS_MAX = 32
_DETAIL_LENGTH_MAX = 300


@dataclass(frozen=True, slots=True)
class Place:
    """The keys or the values of one topic."""

    topic: str
    is_key: bool

    def __str__(self) -> str:
        return f"{self.topic}-{'key' if self.is_key else 'value'}"

    def subject(self, strategy: SubjectName, record: str) -> str:
        """The registry's name for what evolves together, as Confluent's strategies form it."""
        if strategy == "topic":
            return str(self)
        return record if strategy == "record" else f"{self.topic}-{record}"


def header(identity: int) -> bytes:
    """The five bytes before each payload: a zero, then the schema's id."""
    return _HEADER.pack(_MAGIC, identity)


def schema_id(data: bytes, place: Place) -> int:
    """The id in the header of `data`. Raises SerdeError for anything else."""
    if len(data) < HEADER_BYTES:
        raise SerdeError(
            f"{place}: {len(data)} bytes are too few for a schema id",
            hint="the topic holds records that were not written through the schema registry",
        )
    magic, identity = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise SerdeError(
            f"{place}: unknown magic byte 0x{magic:02x}, 0x00 and a schema id are expected",
            hint="the topic holds records that were not written through the schema registry,"
            " or carry the schema's id in a header, which is not supported",
        )
    return int(identity)


class Unbound(Generic[T]):
    """What a serde of the registry is before it knows its topic."""

    name: str

    def encode(self, value: T) -> bytes:
        self._refuse()

    def decode(self, data: bytes) -> T:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise SerdeError(
            f"{self.name} has no topic yet", hint="use what bind(topic, is_key, settings) returns"
        )


def path(data: bytes, place: Place) -> tuple[list[int], int]:
    """The message's path inside its file, and where the payload begins."""
    schema_id(data, place)
    position = HEADER_BYTES

    def number() -> int:
        nonlocal position
        value = shift = 0
        while True:
            if position >= len(data) or shift >= _VARINT_BITS_MAX:
                raise SerdeError(
                    f"{place}: the message's path after the schema id is cut short",
                    hint="the record was not written as Protobuf through the schema registry",
                )
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)

    found = [number() for _ in range(number())]
    return found or [0], position


def detail(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    return text if len(text) <= _DETAIL_LENGTH_MAX else text[:_DETAIL_LENGTH_MAX] + "..."
