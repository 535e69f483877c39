"""Who stands for election: a few workers of a fleet, in as many zones as there are. Pure.

A consumer group tells each of its members of every change, and its leader of all members, so a
group of the whole fleet would cost more with each worker. Its only use is to elect a controller,
and for that a handful will do. Nobody appoints them: a worker that finds too few joins, one that
finds too many leaves.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping

__all__ = ["CANDIDATES", "CANDIDATES_MAX", "hesitation_s", "is_surplus", "is_wanted", "watch_s"]

CANDIDATES = 5
# Beyond that, one for each zone that has none; and no more, except when many start at once.
CANDIDATES_MAX = 8
_WATCH_S = 15.0
_HESITATION_S = 0.3


def is_wanted(zone: str, zones: Collection[str]) -> bool:
    """Whether one more of this zone is wanted beside candidates of these zones."""
    return len(zones) < CANDIDATES or (len(zones) < CANDIDATES_MAX and zone not in zones)


def is_surplus(name: str, zone_of: Mapping[str, str]) -> bool:
    """Whether this one of the candidates is to leave. All of them find the same ones."""
    if len(zone_of) <= CANDIDATES_MAX:
        return False
    firsts: dict[str, str] = {}
    for each in sorted(zone_of):
        firsts.setdefault(zone_of[each], each)
    order = sorted(zone_of, key=lambda each: (firsts[zone_of[each]] != each, each))
    return name not in order[:CANDIDATES]


def hesitation_s(chance: random.Random) -> float:
    """How long to wait and look again before joining. Of a thousand that start at one moment few
    draw a short time: those join, and the others see them."""
    return _HESITATION_S * float(chance.random() ** (1 / 3))


def watch_s(chance: random.Random) -> float:
    """The time between two looks: a fleet without any candidate has one soon, since somebody always
    looks next."""
    return _WATCH_S * chance.uniform(0.7, 1.3)
