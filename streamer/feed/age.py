"""How long a feed may stand still: what was removed leaves a changelog after `delete.retention.ms`.

Compaction drops a removed row at once, and the record of its removal only so long after that. A
feed that had copied the row, and comes for the removal later still, would leave the row there for
ever. One that was at the end since, or has begun since, has missed none (docs/decisions/0010).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamer.clock import Clock
from streamer.errors import StateOutdatedError
from streamer.feed.ports import Ports
from streamer.ids import TopicPartition

__all__ = ["Age"]

_LOOK_MS = 60_000
_DAY_MS = 86_400_000


class Age:
    """Since when a feed knows of all removals: `as_of_ms`, by the wall clock."""

    def __init__(self, name: str, ports: Ports, clock: Clock, *, as_of_ms: int) -> None:
        self._name = name
        self._ports = ports
        self._clock = clock
        self._look_ms = clock.monotonic_ms()
        self._aim_ms = 0
        self._aim: Mapping[TopicPartition, int] = {}
        self.as_of_ms = as_of_ms

    def check(self, places: Iterable[TopicPartition]) -> None:
        """Raise StateOutdatedError where what comes from these changelogs comes too late."""
        late_ms = self._clock.now_ms() - self.as_of_ms - self._ports.delete_retention_ms
        if late_ms <= 0:
            return
        listed = ", ".join(map(str, places))
        raise StateOutdatedError(
            f"feed {self._name} is {late_ms / _DAY_MS:.1f} days too old to go on in {listed}: rows"
            " removed since may have left the changelog, and would come back",
            hint="it stood still, or was behind, for longer than delete.retention.ms of the"
            " changelogs. Nothing was switched: cancel the operation, which removes what it made,"
            " and plan it anew",
        )

    def look(self, positions: Mapping[TopicPartition, int]) -> None:
        """Ask for the ends once in a while; what is read to there is as of when that was asked.
        Raises KafkaUnavailableError."""
        now_ms = self._clock.monotonic_ms()
        if now_ms >= self._look_ms and not self._aim:
            self._look_ms = now_ms + min(_LOOK_MS, self._ports.delete_retention_ms // 4)
            self._aim_ms = self._clock.now_ms()
            self._aim = self._ports.stable_ends(positions)
        if self._aim and all(positions[place] >= end for place, end in self._aim.items()):
            self.as_of_ms, self._aim = self._aim_ms, {}
