"""`Closing`: how far a windowed store has passed on the final results of what has closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

__all__ = ["Closing", "Passed"]


class Closing(NamedTuple):
    """All rows before `time_ms` (a window's start, a session's end) were passed on, and the first
    `rows` of that time, in the order of their keys."""

    time_ms: int
    rows: int


class Passed(NamedTuple):
    """What the parents of a task had passed on, where they had not come as far as each other: of
    the rows that are of a parent, by their keys among so many `tasks`, those before its time."""

    tasks: int
    partitioner: Literal["murmur2", "consistent"]
    before_ms: Mapping[int, int]
    """By parent."""
