"""What stands beside a committed position: what the group knows of a task that has lost its disk.

    2:<stream time ms>:<mark>,<mark>,...

The stream time, so that it goes on with the time it had (KAFKA-9368 does the same), and a mark of
each topic that it reads, so that an input which is new is told from a position that is lost.
Version 1 had no marks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Metadata", "mark", "marks"]

_VERSION = "2"
_VERSION_WITHOUT_MARKS = "1"


class Metadata(NamedTuple):
    """-1 and no marks where they are not known."""

    stream_time_ms: int = -1
    inputs: frozenset[str] = frozenset()

    @classmethod
    def decode(cls, text: str) -> Metadata:
        """Nothing is known where another program committed the position."""
        version, _, rest = text.partition(":")
        time, _, inputs = rest.partition(":")
        if version not in (_VERSION, _VERSION_WITHOUT_MARKS) or not time.lstrip("-").isdigit():
            return cls()
        return cls(int(time), frozenset(inputs.split(",")) if inputs else frozenset())

    def encode(self) -> str:
        return f"{_VERSION}:{self.stream_time_ms}:{','.join(sorted(self.inputs))}"


def mark(topic: str) -> str:
    """Of fixed length: brokers refuse metadata of more than 4 KiB by default."""
    return f"{zlib.crc32(topic.encode()):08x}"


def marks(topics: Iterable[str]) -> frozenset[str]:
    return frozenset(map(mark, topics))
