"""Files of this host: a crash leaves them whole or absent, and links lead nowhere."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path

from streamer.snapshot.remote.api import CHUNK_BYTES

__all__ = [
    "Through",
    "by_size",
    "digest_of",
    "make_private",
    "read_part",
    "settle_part",
    "sync",
    "write_all",
]

Through = Callable[[Iterable[bytes]], Iterable[bytes]]
"""Lets chunks through, each when it may be read on: `Pace.through`."""


def digest_of(path: Path, through: Through | None = None) -> str:
    """sha256 of a regular file, in hexadecimal."""
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(number, "rb", buffering=0) as source:
        if through is None:
            return hashlib.file_digest(source, "sha256").hexdigest()
        digest = hashlib.sha256()
        for chunk in through(iter(lambda: source.read(CHUNK_BYTES), b"")):
            digest.update(chunk)
        return digest.hexdigest()


def read_part(source: FileIO, length: int) -> Iterator[bytes]:
    """The next `length` bytes."""
    while length > 0 and (chunk := source.read(min(CHUNK_BYTES, length))):
        length -= len(chunk)
        yield chunk


def write_all(target: FileIO, chunk: bytes) -> None:
    """Unbuffered files may take less than they are given."""
    view = memoryview(chunk)
    while view:
        view = view[target.write(view) :]


def settle_part(part: Path, path: Path) -> None:
    """A part that is whole gets its name: it appears synced, or not at all."""
    sync(part)
    os.replace(part, path)


def sync(path: Path) -> None:
    """Make a file's bytes, or the names in a directory, durable."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def make_private(directory: Path) -> None:
    """A directory of this user alone; raises NotADirectoryError for a link."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not stat.S_ISDIR(directory.lstat().st_mode):
        raise NotADirectoryError(f"{directory} is a link")


def by_size(directories: Sequence[Path]) -> dict[int, list[Path]]:
    """The regular files of directories, by their sizes; what cannot be read is left out."""
    found: dict[int, list[Path]] = {}
    for directory in directories:
        with suppress(OSError):
            for entry in os.scandir(directory):
                if entry.is_file(follow_symlinks=False):
                    found.setdefault(entry.stat().st_size, []).append(Path(entry.path))
    return found
