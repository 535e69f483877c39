"""Which snapshots are meant: those that are named, or the newest of each task."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from streamer.errors import OperationRefusedError, SnapshotError, SnapshotMissingError
from streamer.ids import Layout, TaskId
from streamer.snapshot.listing import readable
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf

__all__ = ["Chosen", "as_of", "chosen", "newest", "shelves"]


class Chosen(NamedTuple):
    """A snapshot: its shelf and its place there."""

    shelf: Shelf
    stem: str


def shelves(repository: Repository, application: str, tasks: Collection[str] = ()) -> list[Shelf]:
    """The application's shelves. Raises OperationRefusedError for a task that has none."""
    found = repository.shelves(application)
    if not tasks:
        return found
    named = {TaskId.parse(task) for task in tasks}
    if missing := sorted(named - {shelf.task for shelf in found}):
        raise OperationRefusedError(
            f"{repository.address}: there are no snapshots of {application}"
            f" {', '.join(map(str, missing))}",
            hint="streamer snapshot list shows what is there",
        )
    return [shelf for shelf in found if shelf.task in named]


def chosen(repository: Repository, application: str, snapshot_id: str) -> Chosen:
    """A snapshot by its id, or the first letters of it. Raises OperationRefusedError."""
    found = [
        Chosen(shelf, entry.stem)
        for shelf in repository.shelves(application)
        for entry in shelf.entries()
        if entry.id.startswith(snapshot_id)
    ]
    if len(found) == 1 and snapshot_id:
        return found[0]
    raise OperationRefusedError(
        f"{repository.address}: {len(found)} snapshots of {application} have an id that"
        f" begins with {snapshot_id!r}",
        hint="streamer snapshot list shows them",
    )


def newest(shelf: Shelf) -> Chosen | None:
    """The newest snapshot of a task that is committed."""
    for entry in reversed(shelf.entries()):
        try:
            if shelf.manifest(entry.stem) is not None:
                return Chosen(shelf, entry.stem)
        except SnapshotMissingError:
            continue
        except SnapshotError:
            return Chosen(shelf, entry.stem)  # whoever looks at it says what is wrong
    return None


def as_of(shelves: Collection[Shelf], at_ms: int) -> dict[Shelf, Chosen | None]:
    """Of each task the newest snapshot that was made at `at_ms` or before, None where there is
    none; by shelf, of the layout that was in use then, which all shelves of the application tell.
    Empty where nothing is that old.

    A time is that of the maker's clock. Raises RepositoryError.
    """
    by_layout: dict[Layout, list[Shelf]] = {}
    for shelf in shelves:
        by_layout.setdefault(shelf.layout, []).append(shelf)
    for layout in sorted(by_layout, reverse=True):
        found = {shelf: _as_of(shelf, at_ms) for shelf in by_layout[layout]}
        if any(found.values()):
            return found
    return {}


def _as_of(shelf: Shelf, at_ms: int) -> Chosen | None:
    return next(
        (Chosen(shelf, one.stem) for one in readable(shelf) if one.created_ms <= at_ms), None
    )
