"""The snapshots of a task, the newest first. What cannot be read is told in the log and passed
over: it keeps nobody from what lies beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice

from streamer.errors import SnapshotError, SnapshotMissingError
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf

__all__ = ["made_for", "readable", "stored_times"]

_log = logging.getLogger(__name__)

# The snapshot of an order that stands is among the newest; a manifest may have megabytes.
_LOOKED_AT_MAX = 50


def readable(shelf: Shelf) -> Iterator[Manifest]:
    """All that are there, can be read and are not being deleted. Raises RepositoryError."""
    condemned = shelf.condemned("snapshot")
    for entry in reversed(shelf.entries()):
        if entry.stem in condemned:
            continue
        try:
            manifest = shelf.manifest(entry.stem)
        except SnapshotMissingError:
            continue  # removed since it was listed
        except SnapshotError as error:
            _log.warning("%s", error)
            continue
        if manifest is not None:
            yield manifest


def made_for(shelf: Shelf, operation: str) -> Manifest | None:
    """The snapshot that an operation has asked for, None where there is none yet."""
    found = islice(readable(shelf), _LOOKED_AT_MAX)
    return next((manifest for manifest in found if manifest.made_for == operation), None)


def stored_times(repository: Repository, shelf: Shelf, now_ms: int) -> dict[str, int]:
    """When each snapshot was stored, by stem, on the clock that says `now_ms`. How long ago that
    was the repository says: it has one clock, whoever made a snapshot and whoever reads it. Raises
    RepositoryError."""
    place_ms = repository.now_ms()
    return {entry.stem: now_ms - (place_ms - entry.modified_ms) for entry in shelf.entries()}
