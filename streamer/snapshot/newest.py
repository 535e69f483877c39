"""The newest snapshot that can be restored from: what is gone or damaged gives way to the next
older.

A restore never loops: each snapshot is tried once, those that are being deleted after all others.
What was fetched of one is used for the next, as far as contents are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from streamer.errors import SnapshotError, SnapshotMissingError
from streamer.snapshot.fetch import Fetched, fetch
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Report

__all__ = ["fetch_newest"]

_log = logging.getLogger(__name__)


def fetch_newest(
    repository: Repository,
    shelf: Shelf,
    *,
    staging: Path,
    check: Callable[[Manifest], None],
    store_format: str = "1",
    reuse: Sequence[Path] = (),
    report: Report | None = None,
) -> Fetched:
    """Fetch the newest snapshot that `check` lets pass, which raises a SnapshotError for one that
    is no use, such as `check_positions` does.

    Raises SnapshotMissingError with all that was tried and why it was not taken; RepositoryError,
    and SnapshotError for this host's own disk, at once.
    """
    refused: dict[str, SnapshotError] = {}
    for stem, is_condemned in _candidates(shelf, refused):
        try:
            manifest = shelf.manifest(stem)
            if manifest is None:
                refused[stem] = SnapshotMissingError(f"{stem} was given up by its maker")
                continue
            check(manifest)
            return fetch(
                repository,
                shelf,
                stem,
                staging=staging,
                store_format=store_format,
                reuse=reuse,
                report=report,
                even_condemned=is_condemned,
            )
        except SnapshotError as error:
            if type(error) is SnapshotError:
                raise
            _log.warning("snapshot %s of %s is not taken: %s", stem, shelf, error)
            refused[stem] = error
    reasons = "".join(f"\n  {stem}: {error}" for stem, error in refused.items())
    raise SnapshotMissingError(
        f"{repository.address}: {shelf} has no snapshot that can be restored from{reasons}",
        hint="the task is restored from its changelogs, as far as they reach back; make a snapshot"
        " of a task that is whole",
    )


def _candidates(shelf: Shelf, tried: dict[str, SnapshotError]) -> Iterator[tuple[str, bool]]:
    """What is there and was not tried, looked at anew each time, and whether it is condemned."""
    while True:
        stems = [entry.stem for entry in reversed(shelf.entries()) if entry.stem not in tried]
        if not stems:
            return
        condemned = {mark.name for mark in shelf.marks() if mark.kind == "snapshot"}
        stem = next((each for each in stems if each not in condemned), stems[0])
        yield stem, stem in condemned
