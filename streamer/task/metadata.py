"""What stands beside a committed position: what the group knows of a task that has lost its disk.

    2:<stream time ms>:<mark>,<mark>,...

The stream time, so that it goes on with the time it had (KAFKA-9368 does the same). A mark of each
topic that it reads, so that an input which is new is told from a position that is lost, and of each
store with its kind, so that one which became another kind is known even where its changelog is
still empty. Version 1 had no marks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import NamedTuple

from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["Metadata", "input_mark", "marks", "store_mark"]

_VERSION = "2"
_VERSION_WITHOUT_MARKS = "1"


class Metadata(NamedTuple):
    """-1 and no marks where they are not known."""

    stream_time_ms: int = -1
    marks: frozenset[str] = frozenset()

    @classmethod
    def decode(cls, text: str) -> Metadata:
        """Nothing is known where another program committed the position."""
        version, _, rest = text.partition(":")
        time, _, known = rest.partition(":")
        if version not in (_VERSION, _VERSION_WITHOUT_MARKS) or not time.lstrip("-").isdigit():
            return cls()
        return cls(int(time), frozenset(known.split(",")) if known else frozenset())

    def encode(self) -> str:
        return f"{_VERSION}:{self.stream_time_ms}:{','.join(sorted(self.marks))}"


def input_mark(topic: str) -> str:
    return _mark(topic)


def store_mark(store: str, kind: StoreKind) -> str:
    # No name of a topic has a space.
    return _mark(f"{store} {kind.value}")


def marks(topics: Iterable[str], stores: Iterable[StoreSpec]) -> frozenset[str]:
    """All marks of a task."""
    return frozenset(
        [input_mark(topic) for topic in topics]
        + [store_mark(spec.name, spec.kind) for spec in stores]
    )


def _mark(name: str) -> str:
    """Of fixed length: brokers refuse metadata of more than 4 KiB by default."""
    return f"{zlib.crc32(name.encode()):08x}"
