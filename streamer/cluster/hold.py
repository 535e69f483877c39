"""Whether to write now, or when the fences that are on their way are through.

A task of a worker that is gone can be granted only after its fence, while new copies could be
given at once. Written apart these are two records for many workers, each a batch and a marker of
its own; and with hundreds of fences the first transaction takes from them what they work with.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HOLD_MS", "HOLD_MS_MAX", "Hold"]

# A fence takes 100 to 300 ms; of hundreds, some come through in any such time.
HOLD_MS = 1_000
# Nobody waits longer for a fence of somebody else, whatever goes on.
HOLD_MS_MAX = 4 * HOLD_MS


@dataclass(slots=True)
class Hold:
    """`is_on` while nothing is to be written."""

    is_on: bool = False
    _is_news: bool = False
    _pending: int = 0
    _since_ms: int = 0
    _moved_ms: int = 0

    def look(self, pending: int, *, is_news: bool, now_ms: int) -> None:
        """So many fences are on their way; `is_news` is kept for the one who writes next."""
        if not self._pending:
            self._since_ms = now_ms
        if pending != self._pending:
            self._moved_ms = now_ms
        self._pending = pending
        is_moving = now_ms - self._moved_ms < HOLD_MS
        self.is_on = pending > 0 and is_moving and now_ms - self._since_ms < HOLD_MS_MAX
        self._is_news |= is_news

    def release(self) -> bool:
        """Whether there was news since it was asked last."""
        is_news, self._is_news = self._is_news, False
        return is_news
