"""The serdes that users name: `from streamer.serdes import Json, MessagePack, Avro, ...`.

`Avro` and `Protobuf` are loaded when they are first named, since they need a client library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.topology.serde import (
    Bytes,
    Float64,
    Int32,
    Int64,
    Json,
    MessagePack,
    Serde,
    Utf8,
    serde_of,
)

if TYPE_CHECKING:
    from streamer.kafka.registry import Avro, Protobuf

__all__ = [
    "Avro",
    "Bytes",
    "Float64",
    "Int32",
    "Int64",
    "Json",
    "MessagePack",
    "Protobuf",
    "Serde",
    "Utf8",
    "serde_of",
]


def __getattr__(name: str) -> Any:
    if name in ("Avro", "Protobuf"):
        from streamer.kafka import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
