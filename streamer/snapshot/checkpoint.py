"""The files of a checkpoint, and what is known of their contents.

A checkpoint is a directory that RocksDB made: nothing but regular files. Sorted files (`*.sst`)
never change and are hard links of the live database's, so their hash is remembered by inode, size
and time; all others are small and hashed each time. What is sent is hashed once more on its way.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from streamer.errors import SnapshotError
from streamer.snapshot.disk import Through, digest_of
from streamer.snapshot.remote.api import CHUNK_BYTES
from streamer.snapshot.transfer import Report, Tally

__all__ = ["Checkpoint", "Digests", "Source", "SourceFile"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
# Of a process that has it open, not of the database.
_NOT_STATE = re.compile(r"LOCK|LOG|LOG\.old\.\d+")


class SourceFile(NamedTuple):
    """A file that a snapshot is to have."""

    name: str
    size: int
    sha256: str


class Source(Protocol):
    """Where a snapshot's files come from: a checkpoint, or another repository."""

    def files(self, report: Report | None = None) -> list[SourceFile]:
        """All files with their hashes; tells how far the hashing is, in the phase `hash`."""
        ...

    def read(self, file: SourceFile) -> Iterator[bytes]: ...


class Digests:
    """Hashes of sorted files from one snapshot to the next, in a file that may be lost. What is not
    known yet is read `through` something: the first time that is all of a state."""

    def __init__(self, path: Path | None = None, through: Through | None = None) -> None:
        self._path = path
        self._through: Through = through or (lambda chunks: chunks)
        self._known: dict[str, str] = {}
        self._used: dict[str, str] = {}
        if path is not None:
            try:
                found = json.loads(path.read_text(encoding="ascii"))
                self._known = {str(name): str(value) for name, value in found.items()}
            except (OSError, ValueError, AttributeError):
                self._known = {}  # everything is hashed again

    def of(self, path: Path, found: os.stat_result, tally: Tally | None = None) -> str:
        """The sha256 of a file, whose bytes are counted as they are read; raises OSError."""
        tally = tally or Tally(1, found.st_size)

        def read() -> str:
            return digest_of(path, lambda chunks: _counted(self._through(chunks), tally))

        if path.suffix != ".sst":
            return read()
        key = f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"
        digest = self._known.get(key)
        if digest is None:
            digest = read()
        else:
            tally.kept(found.st_size)
        self._used[key] = digest
        return digest

    def save(self) -> None:
        """Keep what was used this time; atomic, and without it only time is lost."""
        if self._path is None:
            return
        part = self._path.with_name(self._path.name + ".part")
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(number, "w", encoding="ascii") as file:
            json.dump(self._used, file)
        os.replace(part, self._path)


def _counted(chunks: Iterable[bytes], tally: Tally) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        tally.kept(len(chunk))


class Checkpoint:
    """A directory as RocksDB's checkpoint leaves it. Raises SnapshotError for anything else."""

    def __init__(self, directory: Path, digests: Digests | None = None) -> None:
        self.directory = directory
        self._digests = digests or Digests()

    def files(self, report: Report | None = None) -> list[SourceFile]:
        found: list[SourceFile] = []
        try:
            entries = list(self._entries())
            size = sum(about.st_size for _entry, about in entries)
            tally = Tally(len(entries), size, report, phase="hash")
            for entry, about in entries:
                digest = self._digests.of(Path(entry.path), about, tally)
                found.append(SourceFile(entry.name, about.st_size, digest))
                tally.file_done()
            self._digests.save()
        except OSError as error:
            raise self._unreadable(error) from error
        if not any(file.name == "CURRENT" for file in found):
            raise SnapshotError(
                f"{self.directory} holds no checkpoint: there is no file CURRENT",
                hint="name the directory that RocksDB's checkpoint was made in",
            )
        return sorted(found)

    def _entries(self) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
        with os.scandir(self.directory) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(about.st_mode) or _NAME.fullmatch(entry.name) is None:
                    raise SnapshotError(
                        f"{entry.path} is no file of a checkpoint (links and directories are not)",
                        hint="a checkpoint is made by RocksDB alone; nothing else belongs there",
                    )
                if _NOT_STATE.fullmatch(entry.name) is None:
                    yield entry, about

    def read(self, file: SourceFile) -> Iterator[bytes]:
        path = self.directory / file.name
        try:
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(number, "rb", buffering=0) as source:
                while chunk := source.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> SnapshotError:
        return SnapshotError(
            f"the checkpoint {self.directory} cannot be read: {error}",
            hint="it must stay until the snapshot is made; make it again",
        )
