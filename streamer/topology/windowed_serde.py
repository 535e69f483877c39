"""The key of windowed results in a topic: the record key's bytes, then the window.

As Kafka Streams writes them: 8 bytes of start for time windows, 8 of end and 8 of start for
sessions. The record key alone chooses the partition, so that all windows of a key stay together.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from streamer.errors import TopologyError
from streamer.topology.serde import Serde
from streamer.topology.stores import StoreKind, StoreSpec
from streamer.topology.windows import Windowed

__all__ = ["WindowedKey", "outgoing_key"]

_TIME = struct.Struct(">q")
_TIMES = struct.Struct(">qq")
_PLAIN = (str, bytes, int, float, bool)


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


def outgoing_key(known: Serde[Any] | None, given: Serde[Any] | None) -> Serde[Any] | None:
    """The serde of keys that are written: as given, else as known. Raises TopologyError for keys
    of windows as text or numbers, which no result would have."""
    kind = getattr(given, "type", None)
    if isinstance(known, WindowedKey) and kind in _PLAIN:
        name = kind.__name__
        raise TopologyError(
            f"the keys of windowed results are Windowed(key, start_ms, end_ms), not {name}",
            hint="leave key= out, which writes the key's bytes and the window; or write the key"
            f" alone: .stream().select_key(lambda windowed, _value: windowed.key, key={name})",
        )
    return given or known
