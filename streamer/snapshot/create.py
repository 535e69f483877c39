"""Making a snapshot: what the repository has is referred to, what it lacks is sent.

    1  pending     a note of all objects that are referred to; from here on none of them may go
    2  condemned   what was marked for deletion before is not relied on
    3  present     what is referred to must be there, with its size
    4  sent        the rest, several at a time, under names of this snapshot's own
    5  listed      all of it must be there, with its size
    6  committed   the manifest, if nobody has put a void in its place

Killed anywhere, it leaves no snapshot but objects that the next one finds by their content; the
note ends by itself. Whoever stood still for longer than that finds the void, and has made nothing.
"""

from __future__ import annotations

import hashlib
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from streamer import failpoints
from streamer.errors import (
    SnapshotDamagedError,
    SnapshotError,
    SnapshotMissingError,
)
from streamer.snapshot.checkpoint import Source, SourceFile
from streamer.snapshot.claims import Claim
from streamer.snapshot.manifest import VERSION, File, Manifest, Position, encode
from streamer.snapshot.remote.api import Content, Stored
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import VOID, Shelf
from streamer.snapshot.transfer import Report, Tally, each

__all__ = ["About", "Created", "create"]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a snapshot is of, beside its task: whoever made the checkpoint knows."""

    created_ms: int
    created_by: str = ""
    store_format: str = "1"
    stores: Mapping[str, str]
    changelog: tuple[Position, ...]
    input: tuple[Position, ...]
    # Set for a copy: its id where it comes from, and its place in the order.
    origin: str = ""
    sequence: int = 0
    # Who asked for it, if anybody did.
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Created:
    """A snapshot that is there, and what it took."""

    manifest: Manifest
    sent_bytes: int
    sent_files: int
    reused_bytes: int


def create(
    repository: Repository,
    shelf: Shelf,
    source: Source,
    *,
    about: About,
    report: Report | None = None,
) -> Created:
    """Make a snapshot of a source that does not change meanwhile.

    Raises RepositoryError when the repository refuses or stays away, SnapshotError when the source
    changes, or this took so long without a sign of life that it was given up.
    """
    files = source.files(report)
    repository.note_task(shelf)
    snapshot_id = secrets.token_hex(16)
    entries = shelf.entries()
    sequence = about.sequence or max((entry.sequence for entry in entries), default=0) + 1
    making = _Making(repository, shelf, source, snapshot_id=snapshot_id)
    making.refer(files)
    stem = f"{sequence:010d}-{snapshot_id}"
    body = msgspec.json.encode(sorted(making.names.values()))
    with Claim(shelf, f"pending/{stem}", body, beat_ms=repository.beat_ms):
        failpoints.hit("snapshot.after_pending")
        making.distrust()
        sent = making.send(files, report)
        making.check()
        manifest = _manifest(making, files, sequence=sequence, about=about)
        failpoints.hit("snapshot.before_commit")
        _commit(shelf, manifest)
        failpoints.hit("snapshot.after_commit")
    total = manifest.size
    sent_bytes = sum(file.size for file in sent)
    return Created(manifest, sent_bytes, len(sent), total - sent_bytes)


class _Making:
    """Which object keeps which content: found ones, and those that are to be sent."""

    def __init__(
        self, repository: Repository, shelf: Shelf, source: Source, *, snapshot_id: str
    ) -> None:
        self._repository = repository
        self._shelf = shelf
        self._source = source
        self.snapshot_id = snapshot_id
        self.names: dict[str, str] = {}
        self._own: set[str] = set()
        self._sizes: dict[str, int] = {}

    def refer(self, files: Iterable[SourceFile]) -> None:
        """Choose an object for each content: one that is there, if it is not condemned."""
        condemned = self._shelf.condemned("object")
        there: dict[str, str] = {}
        for name, stored in self._shelf.objects().items():
            if name not in condemned:
                there.setdefault(f"{name.partition('-')[0]}:{stored.size}", name)
        for file in files:
            stored_size = self._shelf.cipher.stored_size(file.size)
            hidden = self._shelf.cipher.name(file.sha256)
            self._sizes[file.sha256] = stored_size
            found = there.get(f"{hidden}:{stored_size}")
            if found is None:
                self._take_own(file.sha256)
            else:
                self.names[file.sha256] = found

    def distrust(self) -> None:
        """Now that the note stands: send anew what was marked before it, or is gone. In this order,
        since a mark goes after its object."""
        condemned = self._shelf.condemned("object")
        objects = self._shelf.objects()
        for sha256, name in self.names.items():
            if sha256 not in self._own and (name in condemned or self._lacks(objects, sha256)):
                self._take_own(sha256)

    def send(self, files: Iterable[SourceFile], report: Report | None) -> list[SourceFile]:
        """Send what is this snapshot's own. Returns what was sent."""
        files = list(files)
        wanted = list({file.sha256: file for file in files if file.sha256 in self._own}.values())
        tally = Tally(len(files), sum(file.size for file in files), report, phase="send")
        missing = {file.name for file in wanted}
        for file in files:
            if file.name not in missing:
                tally.kept(file.size)
                tally.file_done()

        def send_one(file: SourceFile) -> None:
            name = self.names[file.sha256]
            key = self._shelf.object_key(name)
            self._shelf.backend.put(
                key, self._content(file, key, tally), size=self._sizes[file.sha256]
            )
            tally.file_done()
            failpoints.hit("snapshot.after_file")

        # Large ones first, so that none is alone at the end.
        wanted.sort(key=lambda file: (-file.size, file.name))
        each(wanted, send_one, parallel=self._repository.transfers.parallel)
        return wanted

    def check(self) -> None:
        """Raise unless everything is there with its size."""
        objects = self._shelf.objects()
        for sha256, name in self.names.items():
            if self._lacks(objects, sha256):
                raise SnapshotMissingError(
                    f"{self._repository.address}: {name} is not there as it was stored",
                    hint="something else deletes files there, such as a lifecycle rule; make the"
                    " snapshot again when it is stopped",
                )

    def _content(self, file: SourceFile, key: str, tally: Tally) -> Content:
        attempt = _Attempt(tally)

        def content() -> Iterator[bytes]:
            attempt.begin()
            chunks = self._repository.transfers.pace.through(_hashed(self._source, file, attempt))
            return self._shelf.cipher.seal(chunks, key)

        return content

    def _take_own(self, sha256: str) -> None:
        self.names[sha256] = f"{self._shelf.cipher.name(sha256)}-{self.snapshot_id}"
        self._own.add(sha256)

    def _lacks(self, objects: Mapping[str, Stored], sha256: str) -> bool:
        found = objects.get(self.names[sha256])
        return found is None or found.size != self._sizes[sha256]

    def file(self, file: SourceFile) -> File:
        return File(
            name=file.name,
            size=file.size,
            sha256=file.sha256,
            object=self.names[file.sha256],
            stored_size=self._sizes[file.sha256],
        )


class _Attempt:
    """Counts what is sent of one file, which may be begun anew."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._bytes = 0

    def begin(self) -> None:
        self._tally.again(self._bytes)
        self._bytes = 0

    def moved(self, count: int) -> None:
        self._bytes += count
        self._tally.moved(count)


def _hashed(source: Source, file: SourceFile, attempt: _Attempt) -> Iterator[bytes]:
    """A file's bytes, which must be those of its hash: what raises here is not stored."""
    digest = hashlib.sha256()
    for chunk in source.read(file):
        digest.update(chunk)
        attempt.moved(len(chunk))
        yield chunk
    if digest.hexdigest() != file.sha256:
        raise SnapshotDamagedError(
            f"{file.name} was changed while the snapshot was made",
            hint="a checkpoint never changes: make a new one; if it happens again, check the disk",
        )


def _manifest(
    making: _Making, files: Iterable[SourceFile], *, sequence: int, about: About
) -> Manifest:
    shelf = making._shelf
    return Manifest(
        version=VERSION,
        id=making.snapshot_id,
        sequence=sequence,
        application=shelf.application,
        task=str(shelf.task),
        layout=shelf.layout,
        created_ms=about.created_ms,
        created_by=about.created_by or socket.gethostname(),
        store_format=about.store_format,
        stores=dict(about.stores),
        changelog=list(about.changelog),
        input=list(about.input),
        files=[making.file(file) for file in files],
        origin=about.origin,
        operation=about.operation or msgspec.UNSET,
    )


def _commit(shelf: Shelf, manifest: Manifest) -> None:
    """Put the manifest, which decides. A void that was there first decides as well."""
    raw = encode(manifest)
    # What is written is what will be read: a mistake of ours shows before it is a snapshot.
    shelf.read_manifest(raw, manifest.stem)
    key = shelf.snapshot_key(manifest.stem)
    if shelf.write_document(key, raw):
        return
    found = shelf.document(key, len(raw))
    if found == raw:
        return  # our own, by a request whose answer was lost
    assert found == VOID, "the id is this snapshot's alone"
    raise SnapshotError(
        f"{manifest} was given up: it was silent for too long, and its files may be gone",
        hint="make it again; what was sent is found, as far as it is still there",
    )
