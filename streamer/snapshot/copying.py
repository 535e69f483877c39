"""A snapshot in a second repository: sent as if it were made anew, so it goes on where it was cut.

Contents are decrypted and encrypted on the way where either repository is, and hashed. The copy has
an id of its own, names the first one as its origin, and keeps its place in the order.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamer.snapshot.checkpoint import SourceFile
from streamer.snapshot.claims import lease
from streamer.snapshot.create import About, Created, create
from streamer.snapshot.listing import readable
from streamer.snapshot.manifest import File, Manifest
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Report

__all__ = ["copy"]


class _Stored:
    """The files of a snapshot in another repository."""

    def __init__(self, shelf: Shelf, manifest: Manifest) -> None:
        self._shelf = shelf
        self._files = {file.name: file for file in manifest.files}

    def files(self, report: Report | None = None) -> list[SourceFile]:
        return [_source_file(file) for file in self._files.values()]

    def read(self, file: SourceFile) -> Iterator[bytes]:
        key = self._shelf.object_key(self._files[file.name].object)
        yield from self._shelf.cipher.open(self._shelf.reader(key), key)


def copy(
    shelf: Shelf,
    stem: str,
    target: Repository,
    *,
    beat_ms: int,
    report: Report | None = None,
) -> Created:
    """Copy a snapshot; one that is there already is only told. It is not there where it is being
    deleted, or lacks an object. Raises as `create` and `lease` do, and SnapshotDamagedError where a
    file is not what the manifest says: nothing is passed on."""
    with lease(shelf, stem, beat_ms=beat_ms) as leased:
        manifest = leased.manifest
        origin = manifest.origin or manifest.id
        there = target.shelf(shelf.application, shelf.task, shelf.layout)
        for found in readable(there):
            if origin in (found.origin, found.id) and _is_whole(there, found):
                return Created(found, 0, 0, found.size)
        about = About(
            created_ms=manifest.created_ms,
            created_by=manifest.created_by,
            store_format=manifest.store_format,
            stores=manifest.stores,
            changelog=tuple(manifest.changelog),
            input=tuple(manifest.input),
            origin=origin,
            sequence=manifest.sequence,
        )
        return create(target, there, _Stored(shelf, manifest), about=about, report=report)


def _is_whole(shelf: Shelf, manifest: Manifest) -> bool:
    """Whether all objects are there, and none of them was found damaged."""
    objects, condemned = shelf.objects(), shelf.condemned("object")
    return all(
        name not in condemned and (found := objects.get(name)) is not None and found.size == size
        for name, size in manifest.objects.items()
    )


def _source_file(file: File) -> SourceFile:
    return SourceFile(file.name, file.size, file.sha256)
