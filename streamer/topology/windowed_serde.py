"""The key of windowed results in a topic: the record key's bytes, then the window.

As Kafka Streams writes them: 8 bytes of start for time windows, 8 of end and 8 of start for
sessions. The record key alone chooses the partition, so that all windows of a key stay together.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from streamer.topology.serde import Serde
from streamer.topology.stores import StoreKind, StoreSpec
from streamer.topology.windows import Windowed

__all__ = ["WindowedKey"]

_TIME = struct.Struct(">q")
_TIMES = struct.Struct(">qq")


class WindowedKey:
    """Serde of `Windowed` keys over the serde of the record key."""

    def __init__(self, key: Serde[Any], spec: StoreSpec) -> None:
        self.inner = key
        self._spec = spec
        self.name = f"windowed:{key.name}"
        self.is_session = spec.kind is StoreKind.SESSION

    def encode(self, key: Windowed) -> bytes:
        inner = self.inner.encode(key.key)
        if self.is_session:
            return inner + _TIMES.pack(key.end_ms, key.start_ms)
        return inner + _TIME.pack(key.start_ms)

    def decode(self, encoded: bytes) -> Windowed:
        if self.is_session:
            end_ms, start_ms = _TIMES.unpack(encoded[-16:])
            return Windowed(self.inner.decode(encoded[:-16]), start_ms, end_ms)
        (start_ms,) = _TIME.unpack(encoded[-8:])
        size_ms = self._spec.window_size_ms or 0
        return Windowed(self.inner.decode(encoded[:-8]), start_ms, start_ms + size_ms)

    def partition_key(self, encoded: bytes) -> bytes:
        """The part of an encoded key that chooses the partition."""
        return encoded[: -16 if self.is_session else -8]

    def bind(self, topic: str, is_key: bool, settings: Mapping[str, str]) -> WindowedKey:
        bound = self.inner.bind(topic, is_key, settings)
        return self if bound is self.inner else WindowedKey(bound, self._spec)
