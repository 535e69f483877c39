"""A worker that is fenced again and again has a double under its transactional id: they would take
it from each other for ever."""

from __future__ import annotations

from collections import deque

__all__ = ["REJOINS_MAX", "Rejoins"]

# Being fenced now and then is life; so often means that something keeps taking the id away.
REJOINS_MAX = 6
_WITHIN_MS = 60_000


class Rejoins:
    """When a worker had to join again, the last few times."""

    def __init__(self) -> None:
        self._at_ms: deque[int] = deque(maxlen=REJOINS_MAX)

    def is_loop(self, now_ms: int) -> bool:
        """Note one more; whether that was once too often."""
        self._at_ms.append(now_ms)
        return len(self._at_ms) == REJOINS_MAX and now_ms - self._at_ms[0] < _WITHIN_MS
