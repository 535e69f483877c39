"""Whose turn it is to be read, where more lies in the topics than a worker can take.

A client whose queue is full asks for more in the order of its partitions, and is full again after
the first two: the others are not read before these are done (seen with librdkafka 2.16; with a load
that lasts they never would be). So whoever has been read rests until the others have been read too.

A rest has its price: what the client has fetched of a partition is dropped when it is paused. And
while some rest, the others may have too little for the worker to do. So a rest is over early where
they turn out to have nothing more.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from streamer.ids import TaskId, TopicPartition

__all__ = ["Rota"]

_log = logging.getLogger(__name__)

# The longer, the less is fetched twice; the shorter, the less apart are those that take turns.
_TURN_MS = 4_000
# Of how many fetches of a turn so many are full where a worker is behind: one whose process was
# held up is not. One that keeps up finds all that there is more often than not.
_FULL = 0.9
# How long it takes to see that partitions which were at their end still are: a fetch that finds
# nothing waits on the broker for a tenth of a second. They are not waited for again before the
# second of these.
_LOOK_MS, _LOOK_AGAIN_MS = 200, 7_000
# The same for partitions of which nothing comes and which are not known to be at their end: their
# leader may be away.
_SILENCE_MS, _SILENT_AGAIN_MS = 2_000, 30_000


class Rota:
    """Told after each fetch what was read; says which tasks rest. As long as none does, none begins
    to unless nearly each fetch of a whole turn was full: others have found all that there was."""

    def __init__(self) -> None:
        self._tasks: dict[TopicPartition, TaskId] = {}
        self._resting: set[TaskId] = set()
        self._read: set[TaskId] = set()
        self._at_end: set[TopicPartition] = set()
        self._again_ms: dict[TaskId, int] = {}
        self._turn_began_ms: int | None = None
        self._fetches = self._full = 0
        self._not_full_since_ms: int | None = None
        self._nothing_since_ms: int | None = None

    def add(self, task: TaskId, partitions: Iterable[TopicPartition]) -> None:
        """They are read for this task from now on."""
        self._tasks.update(dict.fromkeys(partitions, task))

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        """Nobody reads them any more: all those of some tasks."""
        for place in partitions:
            task = self._tasks.pop(place)
            self._resting.discard(task)
            self._read.discard(task)
            self._at_end.discard(place)

    @property
    def resting(self) -> Collection[TaskId]:
        return self._resting

    def reset(self) -> None:
        """All are read, and elsewhere than before: nothing is known of them."""
        self._wake()
        self._at_end = set()

    def saw(
        self,
        read: Collection[TopicPartition],
        ended: Collection[TopicPartition],
        *,
        is_full: bool,
        now_ms: int,
    ) -> None:
        """A fetch has brought records of the partitions in `read` and told the ends of those in
        `ended`; it `is_full` where more is at hand; `now_ms` never goes back."""
        self._read.update(self._tasks[place] for place in (*read, *ended))
        # An end that is told in the same fetch lies behind the records.
        self._at_end.difference_update(read)
        self._at_end.update(ended)
        self._not_full_since_ms = None if is_full else _since(self._not_full_since_ms, now_ms)
        self._nothing_since_ms = None if read else _since(self._nothing_since_ms, now_ms)
        self._fetches += 1
        self._full += is_full
        self._turn_began_ms = _since(self._turn_began_ms, now_ms)
        if now_ms - self._turn_began_ms >= _TURN_MS:
            if self._resting or self._full >= self._fetches * _FULL:
                self._next(now_ms)
            else:
                self._wake()
        elif self._resting and (again_ms := self._have_nothing_more(now_ms)):
            awake = set(self._tasks.values()) - self._resting
            self._again_ms |= dict.fromkeys(awake, now_ms + again_ms)
            self._wake()

    def _have_nothing_more(self, now_ms: int) -> int:
        """For how long others need not wait for those that are awake; 0 where they have to now."""
        awake = {place for place, task in self._tasks.items() if task not in self._resting}
        if awake <= self._at_end:
            since_ms, longest_ms, again_ms = self._not_full_since_ms, _LOOK_MS, _LOOK_AGAIN_MS
        else:
            since_ms, longest_ms, again_ms = self._nothing_since_ms, _SILENCE_MS, _SILENT_AGAIN_MS
        return again_ms if since_ms is not None and now_ms - since_ms >= longest_ms else 0

    def _next(self, now_ms: int) -> None:
        """A turn is over: who was read in it rests, as long as somebody has not been."""
        self._again_ms = {one: until for one, until in self._again_ms.items() if until > now_ms}
        unread = set(self._tasks.values()) - self._resting - self._read
        resting = self._resting | self._read
        self._wake()
        if unread.difference(self._again_ms):
            self._resting = resting
            _log.debug("%d tasks rest until %d others are read", len(resting), len(unread))
        self._turn_began_ms = now_ms

    def _wake(self) -> None:
        """All are read, and a turn begins with the next fetch."""
        self._resting = set()
        self._read = set()
        self._fetches = self._full = 0
        self._turn_began_ms = self._not_full_since_ms = self._nothing_since_ms = None


def _since(known_ms: int | None, now_ms: int) -> int:
    return now_ms if known_ms is None else known_ms
