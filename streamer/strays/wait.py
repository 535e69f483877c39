"""What a task has to have seen before it processes what it holds of its own partition. Pure.

    held ─ ask ─> ends of the other partitions ─ ask ─> all of their readers have forwarded up to
    there ─ ask ─> the end of its own strays ─ take in ─> strays up to there: it is over

Each question is asked after the answer to the one before it, and the first after the records were
fetched. A stray that was acknowledged before one of them was written then lies below the first
ends, so its reader has forwarded it, so it lies below the last end, so it was taken in.

Ends are high watermarks. The last stable offset of a partition may still lie below a transaction
that is known to be committed elsewhere: its markers reach partitions at different times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

__all__ = ["Look", "Question", "Wait"]

Question = Literal["ends", "forwarded", "strays"]
"""`ends`: where the other partitions of the topic end. `forwarded`: up to where their readers have
committed that they forwarded. `strays`: where this task's partition of the strays topic ends."""


@dataclass(frozen=True, slots=True)
class Look:
    """Answers to all three questions, asked in their order. By numbers of partitions; what is not
    in `ends` was not asked for, what is not in `forwarded` is not known to be."""

    ends: Mapping[int, int] = field(default_factory=dict)
    forwarded: Mapping[int, int] = field(default_factory=dict)
    strays: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait, for what was fetched when it was made. `left` are partitions with the ends that
    their readers have yet to reach, None before those were asked for."""

    left: tuple[tuple[int, int], ...] | None = None
    strays_end: int | None = None

    @property
    def asks(self) -> Question | None:
        """What is to be asked next; None where nothing but strays is waited for."""
        if self.left is None:
            return "ends"
        if self.left:
            return "forwarded"
        return "strays" if self.strays_end is None else None

    def saw_ends(self, ends: Mapping[int, int]) -> Wait:
        """The high watermarks of the other partitions, by their numbers."""
        assert self.asks == "ends"
        return replace(self, left=tuple(sorted((one, end) for one, end in ends.items() if end > 0)))

    def saw_forwarded(self, positions: Mapping[int, int]) -> Wait:
        """Up to where strays of each partition are forwarded; 0 where nothing is known of it."""
        assert self.left is not None
        left = tuple((one, end) for one, end in self.left if positions.get(one, 0) < end)
        return replace(self, left=left)

    def saw_strays_end(self, end: int) -> Wait:
        """The high watermark of this task's own strays."""
        assert self.asks == "strays"
        return replace(self, strays_end=end)

    def is_over(self, strays_position: int) -> bool:
        """Whether what is held may be processed, once strays are taken in up to this position."""
        return self.strays_end is not None and strays_position >= self.strays_end

    def looked(self, look: Look, own: int) -> Wait:
        """What a look of partition `own` leaves to wait for. Its questions must have been asked
        after what is held was fetched."""
        wait = self
        if wait.asks == "ends":
            wait = wait.saw_ends({one: end for one, end in look.ends.items() if one != own})
        if wait.asks == "forwarded":
            wait = wait.saw_forwarded(look.forwarded)
        if wait.asks == "strays":
            wait = wait.saw_strays_end(look.strays[own])
        return wait
