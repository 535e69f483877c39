"""A snapshot restored for a look: fetched, opened, and each row read; then it is removed again.

What a manifest says of positions must be what the database in it says: a restore goes on from the
latter, while a trim goes by the former.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from streamer.changelog.format import PASSED, Positions
from streamer.errors import SnapshotDamagedError, StreamerError
from streamer.ids import Layout, TopicPartition, changelog_topic
from streamer.snapshot.fetch import fetch
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Report
from streamer.store.reading import Contents, read_all

__all__ = ["Rehearsal", "rehearse"]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was found: rows by store, and how many bytes came for it."""

    manifest: Manifest
    rows: dict[str, int]
    moved_bytes: int


def rehearse(
    repository: Repository,
    shelf: Shelf,
    stem: str,
    *,
    directory: Path,
    report: Report | None = None,
) -> Rehearsal:
    """Restore a snapshot below `directory`, which must have room for it, and read all of it.

    Raises SnapshotDamagedError where it cannot be restored from, and what `fetch` raises.
    """
    staging = directory / f"{shelf.task}-{stem}"
    try:
        fetched = fetch(
            repository, shelf, stem, staging=staging, report=report, even_condemned=True
        )
        try:
            contents = read_all(fetched.directory)
            positions = Positions.decode(contents.metadata)
        except StreamerError as error:
            raise SnapshotDamagedError(
                f"{fetched.manifest} has been fetched, and cannot be read: {error}",
                hint="choose another snapshot, and look at the disk of the worker that made it",
            ) from error
        _compare(fetched.manifest, contents, positions)
        return Rehearsal(fetched.manifest, contents.rows, fetched.moved_bytes)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _compare(manifest: Manifest, contents: Contents, positions: Positions) -> None:
    layout = Layout(manifest.layout)
    said = {(each.topic, each.partition): each.position for each in manifest.changelog}
    for store in manifest.stores:
        if store not in contents.rows:
            raise _differs(manifest, f"store {store}", "is there", "is not in it")
        number = int(manifest.task.partition("_")[2])
        place = changelog_topic(manifest.application, store, layout), number
        if place in said and positions.changelogs.get(store, 0) != said[place]:
            found = positions.changelogs.get(store, 0)
            raise _differs(manifest, f"store {store}", f"stands at {said[place]}", f"at {found}")
    for each in manifest.input:
        place = TopicPartition(each.topic, each.partition)
        at = positions.inputs.get(place, PASSED)
        if at not in (PASSED, each.position):
            raise _differs(manifest, f"input {place}", f"stands at {each.position}", f"at {at}")


def _differs(manifest: Manifest, what: str, said: str, found: str) -> SnapshotDamagedError:
    return SnapshotDamagedError(
        f"{manifest}: its manifest says that {what} {said}, and the database in it {found}",
        hint="a restore would not go on where it should: choose another snapshot",
    )
