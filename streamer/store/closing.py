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
    """How far the parents of a task had come, where they had not come as far as each other: of a
    row that has closed, its parent, which its key tells among so many `tasks`, had passed it on if
    it had closed by that parent's time."""

    tasks: int
    partitioner: Literal["murmur2", "consistent"]
    times: Mapping[int, int]
    """The store's stream time in each parent; -1 where it had none."""

    def before_ms(self, lag_ms: int) -> dict[int, int]:
        """By parent, the time before which it had passed all on; a window or session has closed
        `lag_ms` behind its time."""
        return {parent: max(time - lag_ms, 0) for parent, time in self.times.items()}
