"""What lies in a repository and belongs to nothing: told, and what is safe to remove, removed.

Files without a snapshot are the business of `prune`, which knows who may refer to them. Here are
the rest: uploads that broke off, objects of no task, and what stood there for a moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streamer.snapshot.remote.api import Stored
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import parse_root

__all__ = ["Orphans", "sweep"]

# Longer than any transfer of one file takes.
UNFINISHED_MS = 24 * 3_600_000
_KNOWN = ("tasks/", "streamer-repository")
_MOMENTARY = ("clock/", "self-test/")
_PARTS = ("objects", "snapshots", "pending", "leases", "holds", "condemned", "verified", "trims")


@dataclass(slots=True)
class Orphans:
    """What was found; `removed` counts what is gone now."""

    unfinished: list[Stored] = field(default_factory=list)
    momentary: list[Stored] = field(default_factory=list)
    # Nothing of ours: somebody put it there, and nobody removes it.
    foreign: list[Stored] = field(default_factory=list)
    removed: int = 0


def sweep(repository: Repository, *, dry_run: bool = True) -> Orphans:
    """List the whole repository. Only what is a day old and certainly ours is removed."""
    now_ms = repository.now_ms()
    found = Orphans()
    for stored in repository.backend.unfinished():
        if now_ms - stored.modified_ms > UNFINISHED_MS:
            found.unfinished.append(stored)
    for stored in repository.backend.list(""):
        if stored.key.startswith(_MOMENTARY):
            if now_ms - stored.modified_ms > UNFINISHED_MS:
                found.momentary.append(stored)
        elif not stored.key.startswith(_KNOWN) and not _is_of_a_task(stored.key):
            found.foreign.append(stored)
    if not dry_run:
        for stored in found.unfinished:
            repository.backend.discard(stored.key)
        for stored in found.momentary:
            repository.backend.delete(stored.key)
        found.removed = len(found.unfinished) + len(found.momentary)
    return found


def _is_of_a_task(key: str) -> bool:
    parts = key.split("/")
    return parse_root(key) is not None and len(parts) > 4 and parts[4] in _PARTS
