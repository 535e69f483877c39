"""How far apart the copies of a task must be.

The places of a worker are its tags, widest first, each within the ones before it, and its host.
At every level the copies of a task are spread over as many places as there are, up to their number:
with three copies in two regions no region gets all of them, whatever the rest looks like. A limit
per place says so, computed from the widest level down. At the level named `az` (or `zone`; the last
tag where there is none) and on a host the limit is one copy; the policy `relaxed` lifts it, as far
as needed, only while fewer zones or hosts live than a task has copies. Levels below it, such as
racks, so matter only then.

Which tags count is what most of the tagged workers have. A worker with other ones, or none, is a
stranger: nobody knows what it would fail together with, so it is given nothing. What strangers have
is taken from them once at least half of the workers are tagged: until then, tags are being
introduced, and nothing moves because of that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from streamer.assignment.facts import Facts, Site, Zone

__all__ = ["Zones"]

LEVELS = ("az", "zone", "availability_zone")
ROOT = 0
_Path = tuple[int, ...]


@dataclass(slots=True)
class Zones:
    """Workers and places by number. `paths` are a worker's places without the root, the host last;
    `children` and `limits` are the places' own."""

    paths: list[_Path]
    areas: list[int]
    strangers: dict[int, str]
    keeps_strangers: bool
    tags: tuple[str, ...]
    children: dict[int, list[int]] = field(default_factory=dict)
    limits: list[int] = field(default_factory=list)
    living: int = 0
    hosts: int = 0

    @classmethod
    def of(cls, facts: Facts, names: Sequence[str]) -> Zones:
        sites = [facts.workers[name] for name in names]
        tags = _tags(sites)
        strangers = {
            at: _strangeness(site, tags)
            for at, site in enumerate(sites)
            if _names(site.zone) != tags
        }
        drawing = _Drawing(names, sites, strangers)
        level = _level(tags)
        paths = [drawing.path(at, level) for at in range(len(sites))]
        areas = [path[level] if level >= 0 else ROOT for path in paths]
        zones = cls(paths, areas, strangers, 2 * len(strangers) > len(sites), tags)
        living = [
            at
            for at, site in enumerate(sites)
            if at not in strangers and not site.presence.is_asked_away
        ]
        zones.living = len({areas[at] for at in living}) if tags else 0
        zones.hosts = len({paths[at][-1] for at in living})
        zones._grow(living)
        zones.limits = [0] * drawing.places
        copies = 1 + facts.standby_replicas
        _Limits(zones, copies, is_strict=facts.zone_policy == "strict").set(ROOT, copies)
        for at in range(len(sites)):
            for place in paths[at]:
                # Nothing is given there; what is there already is in nobody's way but its own.
                zones.limits[place] = zones.limits[place] or 1
        return zones

    def _grow(self, living: Iterable[int]) -> None:
        """The tree of places in which copies may be, down to hosts, which have workers below."""
        children: dict[int, dict[int, None]] = defaultdict(dict)
        for at in living:
            above = ROOT
            for place in self.paths[at]:
                children[above][place] = None
                above = place
            children[above][-1 - at] = None
        self.children = {place: list(below) for place, below in children.items()}

    def admits(self, worker: int, others: Sequence[int]) -> bool:
        """The worker may have a copy of a task beside the others that have one."""
        if worker in others:
            return False
        paths, limits = self.paths, self.limits
        if len(others) == 1:
            for place, taken in zip(paths[worker], paths[others[0]], strict=True):
                if place == taken and limits[place] <= 1:
                    return False
            return True
        for level, place in enumerate(paths[worker]):
            taken = 0
            for other in others:
                taken += paths[other][level] == place
            if taken and taken >= limits[place]:
                return False
        return True

    def closes(self, worker: int, others: Sequence[int]) -> bool:
        """The others take up the whole zone of the worker, not only its host."""
        if not self.tags:
            return False
        paths, limits = self.paths, self.limits
        for level, place in enumerate(paths[worker]):
            taken = sum(paths[other][level] == place for other in others)
            if taken and taken >= limits[place]:
                return True
            if place == self.areas[worker]:
                break
        return False

    def is_shared(self, workers: Sequence[int]) -> bool:
        """Some of the workers are in one zone or on one host."""
        hosts = {self.paths[worker][-1] for worker in workers}
        areas = {self.areas[worker] for worker in workers} if self.tags else hosts
        return min(len(hosts), len(areas)) < len(workers)


class _Drawing:
    """Numbers the places. Places of strangers, and the wide ones of workers that drain, are their
    own alone, so that they keep nobody else from a place."""

    def __init__(
        self, names: Sequence[str], sites: Sequence[Site], strangers: Mapping[int, str]
    ) -> None:
        self._names = names
        self._sites = sites
        self._strangers = strangers
        self._depth = max((len(site.zone) for site in sites), default=0)
        if len(strangers) < len(sites):
            known = next(at for at in range(len(sites)) if at not in strangers)
            self._depth = len(sites[known].zone)
        self._numbers: dict[object, int] = {}
        self._next = count(ROOT + 1)
        self.places = ROOT + 1

    def path(self, at: int, level: int) -> _Path:
        site = self._sites[at]
        own = [
            at in self._strangers or (site.presence.is_asked_away and depth < level)
            for depth in range(self._depth)
        ]
        tags = [
            self._number(("own", at, depth) if own[depth] else site.zone[: depth + 1])
            for depth in range(self._depth)
        ]
        return (*tags, self._number(("host", site.host or f"worker {self._names[at]}")))

    def _number(self, key: object) -> int:
        if key not in self._numbers:
            self._numbers[key] = next(self._next)
            self.places = self._numbers[key] + 1
        return self._numbers[key]


class _Limits:
    """Goes down the tree of places and says how many copies of one task each may have."""

    def __init__(self, zones: Zones, copies: int, *, is_strict: bool) -> None:
        self._zones = zones
        self._areas = set(zones.areas) if zones.tags else set()
        self._hosts = {path[-1] for path in zones.paths}
        self._one_per_area = is_strict or zones.living >= copies
        self._one_per_host = is_strict or zones.hosts >= copies
        self._room: dict[int, int] = {}

    def set(self, place: int, copies: int) -> None:
        """Share out the copies that the place may have among the ones below, evenly."""
        self._zones.limits[place] = copies
        below = [child for child in self._zones.children.get(place, ()) if child >= 0]
        rooms = [self._capacity(child) for child in below]
        copies = min(copies, sum(rooms))
        each = 0
        while sum(min(each, room) for room in rooms) < copies:
            each += 1
        for child, room in zip(below, rooms, strict=True):
            self.set(child, min(each, room))

    def _capacity(self, place: int) -> int:
        if place not in self._room:
            below = self._zones.children.get(place, ())
            room = sum(1 if child < 0 else self._capacity(child) for child in below)
            is_one = (place in self._areas and self._one_per_area) or (
                place in self._hosts and self._one_per_host
            )
            self._room[place] = min(1, room) if is_one else room
        return self._room[place]


def _names(zone: Zone) -> tuple[str, ...]:
    return tuple(name for name, _ in zone)


def _tags(sites: Iterable[Site]) -> tuple[str, ...]:
    """The names that most of the tagged workers have; empty if nobody is tagged."""
    seen = Counter(_names(site.zone) for site in sites if site.zone)
    return max(seen, key=lambda names: (seen[names], len(names), names), default=())


def _level(tags: tuple[str, ...]) -> int:
    """Which tag is the zone; -1 without any."""
    return next((at for at, name in enumerate(tags) if name in LEVELS), len(tags) - 1)


def _strangeness(site: Site, tags: tuple[str, ...]) -> str:
    if not site.zone:
        return f"has no zone, others have {','.join(tags)}"
    return f"its zone has the tags {','.join(_names(site.zone))}, others have {','.join(tags)}"
