"""Notes of what was found whole: `verified/<stem>/<level>` on a task's shelf.

A trim goes by them: a snapshot that nobody has looked at never lifts a floor. A note tells of the
moment it was made; a snapshot that is found damaged later takes its notes back.
"""

from __future__ import annotations

from typing import Literal, get_args

from streamer.snapshot.remote.api import of_bytes
from streamer.snapshot.shelf import Shelf

__all__ = ["LEVELS", "Level", "forget_verified", "is_verified_as", "note_verified", "verified"]

Level = Literal["files", "contents", "restored"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the least to the most: all files are there with their sizes; each byte was read and hashed;
it was restored, and its rows were read."""


def note_verified(shelf: Shelf, stem: str, level: Level) -> None:
    """Keep that this snapshot was found whole. Idempotent."""
    shelf.backend.put(f"{_root(shelf)}{stem}/{level}", of_bytes(b"whole\n"), size=6)


def forget_verified(shelf: Shelf, stem: str) -> None:
    """Take back what was noted: it is damaged, or gone. Idempotent."""
    for level in LEVELS:
        shelf.backend.delete(f"{_root(shelf)}{stem}/{level}")


def is_verified_as(found: Level | None, level: Level) -> bool:
    """Whether what was found is as good as `level`, or better."""
    return found is not None and _rank(found) >= _rank(level)


def verified(shelf: Shelf) -> dict[str, Level]:
    """The most that is noted of each snapshot, by stem."""
    found: dict[str, Level] = {}
    for stored in shelf.backend.list(_root(shelf)):
        stem, _, level = stored.key.removeprefix(_root(shelf)).partition("/")
        if level in LEVELS and (stem not in found or _rank(level) > _rank(found[stem])):
            found[stem] = level
    return found


def _rank(level: str) -> int:
    return LEVELS.index(level)


def _root(shelf: Shelf) -> str:
    return f"{shelf.root}verified/"
