"""`Closing`: how far a windowed store has passed on the final results of what has closed."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Closing"]


class Closing(NamedTuple):
    """All rows before `time_ms` (a window's start, a session's end) were passed on, and the first
    `rows` of that time, in the order of their keys."""

    time_ms: int
    rows: int
