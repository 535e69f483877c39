"""Windows: tumbling, hopping and session, with Kafka Streams' meaning of time and grace.

A record is late for a window when window end + grace <= stream time, the record itself included.
A session's gap is inclusive: a record exactly `gap` after the last one still belongs to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from streamer.errors import TopologyError
from streamer.topology.stores import milliseconds

__all__ = ["HoppingWindows", "SessionWindows", "TumblingWindows", "Windowed", "Windows"]


@dataclass(frozen=True, slots=True, order=True)
class Windowed:
    """The key of a windowed result: the record key and its window, end exclusive.

    A session's end is the timestamp of its last record, inclusive, as in Kafka Streams.
    """

    key: Any
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class TumblingWindows:
    """Windows of one size, side by side: TumblingWindows(timedelta(hours=1))."""

    size: timedelta
    grace: timedelta = field(default=timedelta(0), kw_only=True)
    size_ms: int = field(init=False)
    advance_ms: int = field(init=False)
    grace_ms: int = field(init=False)

    def __post_init__(self) -> None:
        size_ms = _positive(self.size, "window size")
        object.__setattr__(self, "size_ms", size_ms)
        object.__setattr__(self, "advance_ms", size_ms)
        object.__setattr__(self, "grace_ms", milliseconds(self.grace, "grace"))


@dataclass(frozen=True, slots=True)
class HoppingWindows:
    """Windows of one size that begin every `advance`: a record belongs to several of them."""

    size: timedelta
    advance: timedelta
    grace: timedelta = field(default=timedelta(0), kw_only=True)
    size_ms: int = field(init=False)
    advance_ms: int = field(init=False)
    grace_ms: int = field(init=False)

    def __post_init__(self) -> None:
        size_ms = _positive(self.size, "window size")
        advance_ms = _positive(self.advance, "window advance")
        if advance_ms > size_ms:
            raise TopologyError(
                f"window advance {self.advance} is longer than its size {self.size}",
                hint="records between two windows would be lost; make advance <= size",
            )
        object.__setattr__(self, "size_ms", size_ms)
        object.__setattr__(self, "advance_ms", advance_ms)
        object.__setattr__(self, "grace_ms", milliseconds(self.grace, "grace"))


@dataclass(frozen=True, slots=True)
class SessionWindows:
    """Windows of activity of a key, which end when nothing came for longer than `gap`."""

    gap: timedelta
    grace: timedelta = field(default=timedelta(0), kw_only=True)
    gap_ms: int = field(init=False)
    grace_ms: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gap_ms", _positive(self.gap, "session gap"))
        object.__setattr__(self, "grace_ms", milliseconds(self.grace, "grace"))


Windows = TumblingWindows | HoppingWindows | SessionWindows


def _positive(duration: timedelta, name: str) -> int:
    return milliseconds(duration, name, least=1)
