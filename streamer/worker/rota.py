"""Whose turn it is to be read, where more lies in the topics than a worker can take.

A client whose queue is full asks for more in the order of its partitions, and is full again after
the first two: the others are not read before these are done (seen with librdkafka 2.16; with a load
that lasts they never would be). So whoever has been read rests until the others have been read too.

A rest has its price: what the client has fetched of a partition is dropped when it is paused.
"""

from __future__ import annotations

from collections.abc import Collection

from streamer.ids import TaskId

__all__ = ["Rota"]

# The longer, the less is fetched twice; the shorter, the less apart are those that take turns.
_TURN_MS = 4_000
# For so long others rest although what is read is not more than there is: a fetch takes some
# milliseconds, in which nothing comes.
_PATIENCE_MS = 200
# Who was found to have nothing left is not waited for again before that.
_AGAIN_MS = 30_000


class Rota:
    """Told after each fetch which tasks were read; says which rest. None does unless each fetch of
    a whole turn was full: else all that there is has been read."""

    def __init__(self) -> None:
        self._resting: set[TaskId] = set()
        self._read: set[TaskId] = set()
        self._done: dict[TaskId, int] = {}
        self._began_ms: int | None = None
        self._dry_ms: int | None = None

    @property
    def resting(self) -> Collection[TaskId]:
        return self._resting

    def begin(self) -> None:
        """All of them are read, from now on."""
        self._resting = set()
        self._read = set()
        self._began_ms = self._dry_ms = None

    def saw(
        self, read: Collection[TaskId], every: Collection[TaskId], *, is_full: bool, now_ms: int
    ) -> None:
        """A fetch has brought something of each in `read`, and more is at hand if it `is_full`;
        `now_ms` never goes back."""
        self._resting.intersection_update(every)
        self._read.update(read)
        if self._began_ms is None:
            self._began_ms = now_ms
        if is_full:
            self._dry_ms = None
            if now_ms - self._began_ms >= _TURN_MS:
                self._next(every, now_ms)
        elif not self._resting:
            self.begin()
        elif self._dry_ms is None:
            self._dry_ms = now_ms
        elif now_ms - self._dry_ms >= _PATIENCE_MS:
            awake = set(every) - self._resting
            self._done |= dict.fromkeys(awake, now_ms + _AGAIN_MS)
            self.begin()

    def _next(self, every: Collection[TaskId], now_ms: int) -> None:
        self._done = {one: until for one, until in self._done.items() if until > now_ms}
        unread = set(every) - self._resting - self._read
        if unread.difference(self._done):
            self._resting |= self._read
        else:
            self._resting = set()
        self._read = set()
        self._began_ms = now_ms
