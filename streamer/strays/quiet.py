"""When strays are not expected any more. Pure.

Producers learn of new partitions within the age that their metadata may have, and nobody knows what
that is. So a task stops waiting once it has waited for a quiet time without a stray. What counts is
a wait that began after the quiet time, and ended without one: where the reader of a partition is
away, no stray comes, and all the same it is not quiet.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Quiet"]


@dataclass(slots=True)
class Quiet:
    """`last_stray_ms` is the time of the last stray, and of the task's first start before there was
    one: in ms since 1970, by the worker's clock. Once `is_over`, it stays so. `noted_ms` is what
    was committed of that time, -1 for nothing."""

    quiet_ms: int
    last_stray_ms: int
    is_over: bool = False
    noted_ms: int = -1

    @classmethod
    def begun(cls, quiet_ms: int, *, noted_ms: int, is_over: bool, now_ms: int) -> Quiet:
        """Of a task that starts. Not since the switch: its topic may have been given its partitions
        long after that, and no task starts before."""
        since_ms = noted_ms if noted_ms >= 0 else now_ms
        return cls(quiet_ms, since_ms, is_over, noted_ms)

    def may_end(self, now_ms: int) -> bool:
        """Whether a wait that begins now would end it."""
        return now_ms - self.last_stray_ms >= self.quiet_ms

    def saw_stray(self, now_ms: int) -> None:
        """One was taken in."""
        if not self.is_over:
            self.last_stray_ms = max(self.last_stray_ms, now_ms)

    def waited(self, began_ms: int) -> None:
        """A wait has ended; what it waited for was asked for after `began_ms`."""
        if self.may_end(began_ms):
            self.is_over = True
