"""Who is there, who comes, and who is waited for: when it is time for a new placement.

At once where a worker is gone; after a short settling where workers joined, so that starting
several of them does not move tasks several times. A worker that is present but not ready (it was
fenced and will be back in a moment) keeps its place for `COMING_MS`, so that its tasks need not
move to another disk and back. One that is gone is waited for: the place of its copies is kept for
`delay_ms`, so that a restart moves no state. After a switch to another layout all workers begin
anew, and whoever was there before is waited for, present or not (`BEGINNING_MS`).
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

__all__ = [
    "BEGINNING_MS",
    "COMING_MS",
    "SETTLE_MS",
    "SETTLE_MS_MAX",
    "Attendance",
    "Change",
    "named",
]

# Processes of one host start within this of each other; a single start is delayed by it.
SETTLE_MS = 400
# A steady trickle of joining workers delays the placement by no more than this.
SETTLE_MS_MAX = 4 * SETTLE_MS
# Making a producer anew takes 60 ms, a loop turn with slow user code seconds.
COMING_MS = 5_000
# A worker closes its databases and opens those of the new layout: a second, more where it has many.
# Without it its tasks would be restored as a whole elsewhere, though it has them.
BEGINNING_MS = 15_000
_NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class Change:
    """What is different from the last placement. `live` are those that a new one is for."""

    live: frozenset[str]
    joined: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    given_up: frozenset[str] = frozenset()
    is_due: bool = False

    @property
    def why(self) -> str:
        """In words; every record of the placement carries this."""
        parts = [f"{named(self.joined)} joined"] if self.joined else []
        parts += [f"{named(self.gone)} gone"] if self.gone else []
        parts += [f"{named(self.given_up)} given up"] if self.given_up else []
        return "; ".join(parts)


@dataclass(slots=True)
class Attendance:
    """`away` tells since when workers are gone that are waited for."""

    delay_ms: int = 0
    away: dict[str, int] = field(default_factory=dict)
    _joining: frozenset[str] = frozenset()
    _first_joined_ms: int = 0
    _last_joined_ms: int = 0
    _missing_ms: dict[str, int] = field(default_factory=dict)
    _beginning: frozenset[str] = frozenset()
    _is_scant: bool = False

    @property
    def is_waiting(self) -> bool:
        """Time alone will change something: workers settle, may come back, or are given up."""
        return bool(self._joining or self._missing_ms or self.away)

    @property
    def beginning(self) -> frozenset[str]:
        """Those that were there before the switch, and are not back yet."""
        return self._beginning

    def begin(self, workers: frozenset[str], *, is_scant: bool) -> None:
        """All of these begin anew, and are placed as if they were there. `is_scant` says that they
        have too few copies: others are placed once they are back."""
        self._beginning, self._is_scant = workers, is_scant

    def look(
        self, placed: frozenset[str], ready: Set[str], present: Set[str], *, now_ms: int
    ) -> Change:
        """`placed` are the workers of the last placement. Ready ones can own tasks; of present ones
        a process is alive."""
        missing = placed - ready
        self._missing_ms = {each: self._missing_ms.get(each, now_ms) for each in missing}
        self._beginning -= ready
        coming = {
            each
            for each, since_ms in self._missing_ms.items()
            if (each in present and now_ms - since_ms < COMING_MS)
            or (each in self._beginning and now_ms - since_ms < BEGINNING_MS)
        }
        joined, gone = frozenset(ready - placed), frozenset(missing - coming)
        given_up = frozenset(
            each
            for each, since_ms in self.away.items()
            if now_ms - since_ms >= self.delay_ms and each not in ready
        )
        has_come = self._is_settled(joined, now_ms) or self._is_scant
        # Others would be given what those that are not back yet have on their disks.
        has_come = has_come and not self._beginning & coming
        is_due = has_come or bool(gone or given_up)
        return Change(frozenset(ready | coming), joined, gone, given_up, is_due)

    def _is_settled(self, joined: frozenset[str], now_ms: int) -> bool:
        if not joined:
            self._joining = joined
            return False
        if not self._joining:
            self._first_joined_ms = now_ms
        if joined - self._joining:
            self._last_joined_ms = now_ms
        self._joining = joined
        return (
            now_ms - self._last_joined_ms >= SETTLE_MS
            or now_ms - self._first_joined_ms >= SETTLE_MS_MAX
        )

    def placed(self, change: Change, now_ms: int) -> None:
        """A new placement is made for this change."""
        self._joining, self._is_scant = frozenset(), False
        self._beginning &= change.live
        waited_for = (self.away.keys() | change.gone) - change.given_up - change.live
        self.away = {each: self.away.get(each, now_ms) for each in waited_for if self.delay_ms > 0}


def named(workers: Iterable[str]) -> str:
    """A few by name."""
    listed = sorted(workers)
    named = ", ".join(listed[:_NAMED_MAX])
    more = len(listed) - _NAMED_MAX
    return f"{named} and {more} more" if more > 0 else named
