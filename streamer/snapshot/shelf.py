"""`Shelf`: the part of a repository that holds the snapshots of one task.

    applications/<application>/layout-1/0_3/
      objects/<name>-<snapshot id>     a content; whoever stores one gives it a name of its own
      snapshots/<sequence>-<id>        a manifest: the snapshot is there; or that it never will be
      pending/<sequence>-<id>/...      what a snapshot in the making refers to
      leases/<id>/...                  a restore that reads a snapshot
      holds/<sequence>-<id>/<name>     somebody keeps a snapshot
      condemned/...                    an object or a snapshot that is to be deleted
      verified/<sequence>-<id>/<level> a snapshot was found whole, to this level
      trims/...                        how far a changelog was trimmed, and by what right

Nothing is ever changed in place, and no name is used twice: so a delete that comes late hits only
what it was meant for. `prune` has the rules by which things are deleted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from streamer.errors import SnapshotDamagedError, SnapshotMissingError
from streamer.ids import FIRST_LAYOUT, Layout, TaskId, check_application_id
from streamer.snapshot.cipher import Cipher, Range
from streamer.snapshot.manifest import MANIFEST_BYTES_MAX, Manifest, decode
from streamer.snapshot.remote.api import Backend, Stored, of_bytes

__all__ = ["APPLICATIONS", "VOID", "Entry", "Mark", "Shelf", "parse_root"]

APPLICATIONS = "applications/"
# In the place of a manifest: the snapshot was given up, and whoever makes it cannot commit it.
VOID = b"void\n"

_STEM = re.compile(r"(\d{10})-([0-9a-f]{32})")
_ROOT = re.compile(r"applications/([^/]+)/layout-(\d+)/(\d+_\d+)/")


class Entry(NamedTuple):
    """A committed manifest as it is listed. Sorts by order of commit."""

    sequence: int
    id: str
    modified_ms: int

    @property
    def stem(self) -> str:
        return f"{self.sequence:010d}-{self.id}"


class Mark(NamedTuple):
    """Something that is condemned, and when that was."""

    kind: str
    name: str
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """Reads and writes of one task's part, each of them one request or a listing."""

    backend: Backend
    cipher: Cipher
    application: str
    task: TaskId
    layout: Layout = FIRST_LAYOUT

    def __post_init__(self) -> None:
        check_application_id(self.application)

    @property
    def root(self) -> str:
        return f"{APPLICATIONS}{self.application}/layout-{self.layout}/{self.task}/"

    def __str__(self) -> str:
        return f"{self.application} {self.task}"

    def objects(self) -> dict[str, Stored]:
        """All contents, by name."""
        prefix = f"{self.root}objects/"
        return {found.key.removeprefix(prefix): found for found in self.backend.list(prefix)}

    def object_key(self, name: str) -> str:
        return f"{self.root}objects/{name}"

    def entries(self) -> list[Entry]:
        """What stands among the snapshots, voids included, in the order of commits."""
        prefix = f"{self.root}snapshots/"
        found = []
        for stored in self.backend.list(prefix):
            match = _STEM.fullmatch(stored.key.removeprefix(prefix))
            if match is not None:
                found.append(Entry(int(match[1]), match[2], stored.modified_ms))
        return sorted(found)

    def snapshot_key(self, stem: str) -> str:
        return f"{self.root}snapshots/{stem}"

    def manifest(self, stem: str) -> Manifest | None:
        """A committed manifest, None for a void. Raises SnapshotMissingError, SnapshotDamagedError,
        or SnapshotMismatchError for one that lies where another belongs."""
        raw = self.document(self.snapshot_key(stem), MANIFEST_BYTES_MAX)
        return None if raw == VOID else self.read_manifest(raw, stem)

    def read_manifest(self, raw: bytes, stem: str) -> Manifest:
        """A manifest, which must say of itself what its place says."""
        where = f"{self.backend.address}: {self} {stem}"
        manifest = decode(raw, where)
        said = (manifest.stem, manifest.application, manifest.task, manifest.layout)
        if said != (stem, self.application, str(self.task), self.layout):
            raise SnapshotDamagedError(
                f"{where}: it is the manifest of {manifest}, which does not belong there",
                hint="somebody has moved files of the repository; choose another snapshot",
            )
        return manifest

    def find(self, snapshot_id: str) -> Entry:
        """A snapshot by its id, or the first letters of it. Raises SnapshotMissingError."""
        entries = self.entries()
        found = [entry for entry in entries if entry.id.startswith(snapshot_id)]
        if len(found) != 1:
            known = ", ".join(entry.id[:12] for entry in entries[-5:]) or "none"
            raise SnapshotMissingError(
                f"{self.backend.address}: {len(found)} snapshots of {self} have an id that begins"
                f" with {snapshot_id!r}",
                hint=f"the newest are: {known}",
            )
        return found[0]

    def manifests(self) -> list[Manifest]:
        """All snapshots that are there, the newest last. Raises as `manifest` does."""
        found = []
        for entry in self.entries():
            try:
                manifest = self.manifest(entry.stem)
            except SnapshotMissingError:
                continue  # removed since it was listed
            if manifest is not None:
                found.append(manifest)
        return found

    def marks(self) -> list[Mark]:
        """What is condemned: objects and snapshots by kind and name."""
        prefix = f"{self.root}condemned/"
        found = []
        for stored in self.backend.list(prefix):
            kind, _, name = stored.key.removeprefix(prefix).partition("/")
            found.append(Mark(kind, name, stored.modified_ms))
        return found

    def condemned(self, kind: str) -> set[str]:
        """The names of what is condemned of one kind."""
        return {mark.name for mark in self.marks() if mark.kind == kind}

    def mark_key(self, kind: str, name: str) -> str:
        return f"{self.root}condemned/{kind}/{name}"

    def is_condemned(self, stem: str) -> bool:
        return self.backend.stat(self.mark_key("snapshot", stem)) is not None

    def condemn(self, kind: str, name: str) -> None:
        """From here on nobody refers to it anew. Never taken back."""
        key = self.mark_key(kind, name)
        self.backend.put(key, of_bytes(b"condemned\n"), size=10)

    def write_document(self, key: str, content: bytes) -> bool:
        """Store something small, sealed; False where there is something already."""
        sealed = b"".join(self.cipher.seal([content], key))
        return self.backend.put(key, of_bytes(sealed), size=len(sealed))

    def document(self, key: str, size_max: int = 1024 * 1024) -> bytes:
        """Something small; raises SnapshotDamagedError where it is not small."""
        content = bytearray()
        for chunk in self.cipher.open(self.reader(key), key):
            content += chunk
            if len(content) > size_max:
                raise SnapshotDamagedError(
                    f"{self.backend.address}: {key} is larger than {size_max} bytes",
                    hint="it was not written by Streamer; remove it",
                )
        return bytes(content)

    def reader(self, key: str) -> Range:
        """Reads ranges of one object."""
        return lambda start, length: self.backend.read(key, start=start, length=length)


def parse_root(key: str) -> tuple[str, TaskId, Layout] | None:
    """The task to which an object belongs, None for what is none's."""
    match = _ROOT.match(key)
    if match is None:
        return None
    return match[1], TaskId.parse(match[3]), Layout(int(match[2]))
