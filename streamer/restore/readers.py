"""Two consumers in one: what tasks wait for is read by the first, what follows by the second.

Standbys have a consumer of their own, so that no promotion waits behind what was fetched for them,
nor shares its fetches with them, however far behind they are: a copy that is promoted changes
over. While tasks are restored at full speed, standbys get a fifth of the turns' records, which is
enough to stay at the end and never stops one. Their fetches also wait at the brokers for longer
and for more, which makes idle ones cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamer.ids import TopicPartition
from streamer.kafka.changelog import ChangelogConsumer, Fetched

__all__ = ["Readers"]

# Measured: 10,000 cost a third more, since their messages fall out of the processor's cache.
FETCH_RECORDS = 1_000
FETCH_MS = 100
# What standbys get beside it while tasks are restored at full speed.
FEW_RECORDS = FETCH_RECORDS // 4


class Readers:
    """Each partition is read by one of the two; `second` comes with the first standby."""

    def __init__(self, first: ChangelogConsumer) -> None:
        self._first = first
        self._second: ChangelogConsumer | None = None
        self._urgent: set[TopicPartition] = set()
        self._following: set[TopicPartition] = set()
        self._has_more = False

    def have_second(self, second: ChangelogConsumer) -> None:
        self._second = second

    def follow(self, positions: Mapping[TopicPartition, int]) -> None:
        if positions:
            assert self._second is not None
            self._second.add(positions)
            self._following.update(positions)

    def read(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read what a task waits for, also where it was followed until then."""
        self.remove(self._following.intersection(positions))
        if positions:
            self._first.add(positions)
            self._urgent.update(positions)

    def again(self, place: TopicPartition, position: int) -> None:
        """Read a partition anew, by whoever read it."""
        again = self.follow if place in self._following else self.read
        self.remove([place])
        again({place: position})

    def remove(self, places: Iterable[TopicPartition]) -> None:
        """Those that are not read are passed over."""
        for mine, reader in ((self._urgent, self._first), (self._following, self._second)):
            found = mine.intersection(places)
            if found and reader is not None:
                mine -= found
                reader.remove(found)

    def fetch(self, wait_ms: int = FETCH_MS) -> Fetched:
        """What the changelogs bring next, after at most this time."""
        if self._second is None:
            # Also while nothing is read: it waits, and lets the client notice brokers that return.
            return self._first.fetch(FETCH_RECORDS, wait_ms)
        is_waited_for = bool(self._urgent)
        waits = is_waited_for and not self._has_more
        fetched = self._first.fetch(FETCH_RECORDS, wait_ms if waits else 0)
        limit = FEW_RECORDS if fetched.count >= FETCH_RECORDS else FETCH_RECORDS
        more = self._second.fetch(limit, 0 if is_waited_for else wait_ms)
        self._has_more = more.count >= limit
        return fetched.with_(more)

    def known_ends(self) -> dict[TopicPartition, int]:
        """Of what is followed, as the latest fetches told."""
        return {} if self._second is None else self._second.known_ends()

    def close(self) -> None:
        self._first.close()
        if self._second is not None:
            self._second.close()
