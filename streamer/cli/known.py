"""Whether there are the workers and zones that somebody names; a misspelt name is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from difflib import get_close_matches

from streamer.errors import ConfigError

__all__ = ["check_known"]

_NAMED_MAX = 10


def check_known(
    zones: Iterable[str],
    workers: Iterable[str],
    *,
    places: Mapping[str, str],
    alive: Set[str],
    drained: Set[str],
) -> list[str]:
    """What there is to say of those of them that have left. `places` are the zones of all workers
    that are remembered, `drained` what is drained already: it may be named whoever is left of it.

    Raises ConfigError for a worker, or a tag of a zone, that nobody knows.
    """
    tags: dict[str, set[str]] = {}
    for worker, zone in places.items():
        for tag in filter(None, zone.split(",")):
            tags.setdefault(tag.strip(), set()).add(worker)
    for zone in sorted(set(zones) - tags.keys() - drained):
        raise _unknown(f"no worker has the tag {zone} in its zone", zone, tags, "tags")
    for worker in sorted(set(workers) - places.keys() - drained):
        raise _unknown(f"there is no worker {worker}", worker, sorted(alive) or places, "workers")
    left = [worker for worker in sorted(workers) if worker not in alive]
    left += [zone for zone in sorted(zones) if not tags.get(zone, set()) & alive]
    return [f"nothing to do for {name}: no worker of that name lives" for name in left]


def _unknown(what: str, name: str, known: Iterable[str], kind: str) -> ConfigError:
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    listed = ", ".join(names[:_NAMED_MAX]) + more if names else "none"
    meant = f"is {near[0]} meant? " if near else ""
    return ConfigError(what, hint=f"{meant}{kind}: {listed}; streamer show workers has all of them")
