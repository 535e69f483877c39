"""Which workers shall end up with nothing, and whether the placement goes by that.

asked ---> the placement that is due at once goes by it ---> answered
  `--------------------------------------------------------`--> halted by a stop
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

from streamer.assignment.facts import Copies, Presence, Site

__all__ = ["Drain", "Drains", "staying"]


@dataclass(frozen=True, slots=True)
class Drain:
    """Workers that shall end up with nothing, by their ids and by tags of their zones. Those of
    them that are in `kept` keep what they have: somebody has stopped that before this was asked
    for. `name` tells one asking from another."""

    workers: frozenset[str] = frozenset()
    zones: frozenset[tuple[str, str]] = frozenset()
    kept: frozenset[str] = frozenset()
    name: str = field(default="", compare=False)

    def presence(self, worker: str, site: Site) -> Presence:
        by = {f"{tag}={value}" for tag, value in self.zones.intersection(site.zone)}
        by |= self.workers & {worker}
        if not by:
            return Presence.READY
        return Presence.HELD if by <= self.kept else Presence.DRAINING


@dataclass(slots=True)
class Drains:
    """`answered` is the name of the drain that the last placement went by, `halted` of the one that
    somebody has stopped: its workers are given nothing and keep what they have, until the same is
    asked for by another name."""

    answered: str = ""
    halted: str = ""
    is_asked: bool = False
    _now: Drain | None = field(default_factory=Drain)

    def resume(self, answered: str) -> None:
        """The predecessor's placement went by this one. What it says stands in the log, too."""
        self.answered, self._now = answered, None

    def remember(self, halted: str) -> None:
        """The predecessor was told to stop this one; whoever goes on does not take it up either."""
        self.halted = halted

    def stop(self, name: str | None) -> None:
        """Empty nobody by the drain of this name, "" for none, also where it is yet to be heard of;
        None for the one that stands, since an older release did not say."""
        if name is None:
            name = self._now.name if self._now else self.answered
        if name:
            self.halted = name
        if self.is_halted:
            self.answered, self.is_asked = name, False

    @property
    def is_halted(self) -> bool:
        """Whether the drain that stands is stopped."""
        stands = self._now.name if self._now else self.answered
        return bool(stands) and stands == self.halted

    def ask(self, drain: Drain) -> bool:
        """Returns whether that is news."""
        was_halted = self.is_halted
        before, self._now = self._now, drain
        if self.is_halted:
            is_other, self.answered = drain.name != self.answered, drain.name
            self.is_asked = False
            return is_other
        if before is None and drain.name == self.answered:
            return False
        if drain == before and not was_halted:
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

    def presence(self, worker: str, site: Site) -> Presence:
        """What a worker that lives may be given, and what it keeps."""
        found = self._now.presence(worker, site) if self._now else Presence.READY
        return Presence.HELD if found is Presence.DRAINING and self.is_halted else found

    def sites(self, known: Mapping[str, Site], away: Set[str]) -> dict[str, Site]:
        """Where workers are, and what each may be given. Where nobody else is left, those whose
        drain was stopped are given what has no place."""
        found = {worker: self.presence(worker, site) for worker, site in known.items()}
        found |= dict.fromkeys(away & found.keys(), Presence.AWAY)
        if Presence.READY not in found.values():
            held = (worker for worker, each in found.items() if each is Presence.HELD)
            found |= dict.fromkeys(held, Presence.READY)
        return {worker: replace(site, presence=found[worker]) for worker, site in known.items()}

    def among(
        self, workers: Iterable[str], sites: Mapping[str, Site], *kinds: Presence
    ) -> frozenset[str]:
        """Those of the workers that are drained in one of these ways."""
        if not self.is_any:
            return frozenset()
        return frozenset(
            worker
            for worker in workers
            if self.presence(worker, sites.get(worker, Site())) in kinds
        )

    def holds(self, worker: str, site: Site) -> bool:
        """Whether the worker is given nothing because somebody asked for that."""
        return self.presence(worker, site) is not Presence.READY

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
