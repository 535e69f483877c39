"""Snapshots that were restored to a directory, to be looked at without a cluster.

    DIR/0_3/files/           the database
    DIR/0_3/snapshot.json    of which snapshot it is

A task's directory has this name once all of it is there: it is made as `0_3.partial`, which a later
run goes on with, also with another snapshot. Nothing else that is found there is ever changed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamer.errors import OperationRefusedError, StateDirectoryError
from streamer.snapshot.choosing import Chosen
from streamer.snapshot.disk import make_private, sync
from streamer.snapshot.fetch import fetch
from streamer.snapshot.manifest import Manifest, Position
from streamer.snapshot.repository import Repository
from streamer.snapshot.transfer import Report

__all__ = ["AtRest", "Origin", "at_rest", "check_room", "restore_to"]

_FILES, _ORIGIN = "files", "snapshot.json"
_PARTIAL = ".partial"
# By this file RocksDB knows a database.
_CURRENT = "CURRENT"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Of which snapshot a database is."""

    id: str
    application: str
    task: str
    layout: int
    created_ms: int
    created_by: str
    size: int
    stores: dict[str, str]
    changelog: list[Position]
    input: list[Position]

    @classmethod
    def of(cls, manifest: Manifest) -> Origin:
        return msgspec.convert(manifest, cls, from_attributes=True)


_decoder = msgspec.json.Decoder(Origin)


@dataclass(frozen=True, slots=True)
class AtRest:
    """A database that nobody has open. `origin` is None for one that no restore has put there."""

    task: str
    directory: Path
    origin: Origin | None


def check_room(wanted: Collection[Chosen], directory: Path) -> None:
    """Raise OperationRefusedError where snapshots of other times would come beside these, or two of
    one task are wanted: before a byte is fetched, and what is there stays of one wish."""
    for one in wanted:
        if (target := directory / str(one.shelf.task)).exists():
            _there(target, one)
    tasks = [one.shelf.task for one in wanted]
    if twice := sorted({task for task in tasks if tasks.count(task) > 1}):
        raise OperationRefusedError(
            f"two snapshots of task {twice[0]} are wanted in {directory}",
            hint="restore each to a directory of its own",
        )


def restore_to(
    repository: Repository, one: Chosen, directory: Path, *, report: Report | None = None
) -> AtRest:
    """Bring a snapshot below `directory`, which is made. One that is there already is only told.

    Raises OperationRefusedError where another one of this task is there, and what `fetch` raises.
    """
    target = directory / str(one.shelf.task)
    if target.exists():
        return _there(target, one)
    try:
        make_private(directory)
        staging = target.with_name(target.name + _PARTIAL)
        fetched = fetch(repository, one.shelf, one.stem, staging=staging, report=report)
        origin = Origin.of(fetched.manifest)
        # Written before the name is given: whoever finds the directory finds whose it is.
        (staging / _ORIGIN).write_bytes(msgspec.json.format(msgspec.json.encode(origin)) + b"\n")
        sync(staging / _ORIGIN)
        sync(staging)
        os.rename(staging, target)
        sync(directory)
    except OSError as error:
        raise StateDirectoryError(
            f"{target} cannot be made: {error.strerror or error}",
            hint="free space there, or correct the rights; what was fetched is kept",
        ) from error
    return AtRest(origin.task, target / _FILES, origin)


def _there(target: Path, wanted: Chosen) -> AtRest:
    found = _origin(target)
    if found is not None and wanted.stem.endswith(found.id):
        return AtRest(found.task, target / _FILES, found)
    what = f"snapshot {found.id[:12]}" if found else "something else"
    raise OperationRefusedError(
        f"{target} has {what}, not snapshot {wanted.stem[11:23]}",
        hint="choose another directory, or move this one away",
    )


def at_rest(directory: Path) -> list[AtRest]:
    """The databases in a directory that `restore_to` has filled, or in one task's directory of it,
    or of a worker that does not run. Raises StateDirectoryError where there is none."""
    found = sorted(_found(directory), key=lambda one: (one.task, str(one.directory)))
    if not found:
        raise StateDirectoryError(
            f"{directory}: there is no state in it",
            hint="streamer snapshot restore --to DIR fills one; of a worker that does not run"
            " give the directory of a task",
        )
    return found


def _found(directory: Path) -> Iterator[AtRest]:
    try:
        places = [directory, *(each for each in directory.iterdir() if each.is_dir())]
    except OSError as error:
        raise StateDirectoryError(
            f"{directory} cannot be read: {error.strerror or error}",
            hint="name a directory that exists and that this user may read",
        ) from error
    for place in places:
        if place.name.endswith(_PARTIAL):
            continue
        origin = _origin(place)
        if origin is not None and (place / _FILES / _CURRENT).exists():
            yield AtRest(origin.task, place / _FILES, origin)
        elif (place / _CURRENT).exists() and place.name != _FILES:
            yield AtRest(place.absolute().name, place, None)


def _origin(place: Path) -> Origin | None:
    path = place / _ORIGIN
    try:
        return _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StateDirectoryError(
            f"{path} cannot be read: {error}",
            hint="restore the snapshot again, to another directory",
        ) from error
