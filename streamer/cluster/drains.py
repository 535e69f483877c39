"""Which workers shall end up with nothing, and whether the placement goes by that.

asked ---> the placement that is due at once goes by it ---> answered
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from streamer.assignment.facts import Copies, Site

__all__ = ["Drain", "Drains", "staying"]


@dataclass(frozen=True, slots=True)
class Drain:
    """Workers that shall end up with nothing, by their ids and by tags of their zones. `name` tells
    one asking from another."""

    workers: frozenset[str] = frozenset()
    zones: frozenset[tuple[str, str]] = frozenset()
    name: str = field(default="", compare=False)

    def holds(self, worker: str, site: Site) -> bool:
        return worker in self.workers or not self.zones.isdisjoint(site.zone)


@dataclass(slots=True)
class Drains:
    """`answered` is the name of the drain that the last placement went by."""

    answered: str = ""
    is_asked: bool = False
    _now: Drain | None = field(default_factory=Drain)

    def resume(self, answered: str) -> None:
        """The predecessor's placement went by this one. What it says stands in the log, too."""
        self.answered, self._now = answered, None

    def ask(self, drain: Drain) -> bool:
        """Returns whether that is news."""
        before, self._now = self._now, drain
        if before is None and drain.name == self.answered:
            return False
        if drain == before:
            is_other = drain.name != (self.answered if not self.is_asked else before.name)
            if not self.is_asked:
                self.answered = drain.name
            return is_other
        self.is_asked = True
        return True

    def placed(self) -> None:
        """A placement is made, and goes by it."""
        if self._now is not None:
            self.answered, self.is_asked = self._now.name, False

    def holds(self, worker: str, site: Site) -> bool:
        return self._now is not None and self._now.holds(worker, site)

    @property
    def is_any(self) -> bool:
        """Whether anybody is drained at all."""
        return self._now is not None and bool(self._now.workers or self._now.zones)


def staying(target: Iterable[Copies], drained: frozenset[str]) -> dict[str, int]:
    """How many tasks and copies stay on each drained worker, since nobody else can have them: a
    task whose other copies are being built does not."""
    found = Counter[str]()
    for copies in target if drained else ():
        found.update(drained.intersection(copies.standbys))
        if drained.issuperset(copies.standbys):
            found.update(drained & {copies.active})
    return dict(sorted(found.items()))
