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
    """`since_ms` is the time of the last stray, and of the switch before there was one: in ms since
    1970, by the worker's clock; `last_stray_ms` is -1 while none has come. Once `is_over`, it stays
    so."""

    quiet_ms: int
    since_ms: int
    is_over: bool = False
    last_stray_ms: int = -1

    def saw_stray(self, now_ms: int) -> None:
        """One was taken in."""
        if not self.is_over:
            self.last_stray_ms = now_ms
            self.since_ms = max(self.since_ms, now_ms)

    def waited(self, began_ms: int) -> None:
        """A wait has ended; what it waited for was asked for after `began_ms`."""
        if began_ms - self.since_ms >= self.quiet_ms:
            self.is_over = True
