"""`file://`: a repository in a directory of this machine, or of a file system that is mounted.

A file is written aside, synced and then linked to its name, which fails where the name is taken: so
it is put if absent, whole or not at all, whoever else writes. An `ssh://` repository is the same on
disk, so what one host keeps as `file://` others read over SSH.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from streamer.errors import RepositoryError, SnapshotMissingError
from streamer.snapshot.remote.api import (
    CHUNK_BYTES,
    Backend,
    Content,
    Stored,
    check_key,
    check_prefix,
    exactly,
)

__all__ = ["PARTIAL", "DirectoryBackend"]

# Begins with a dot, so that it is no key.
PARTIAL = ".partial"


class DirectoryBackend(Backend):
    """Files below `root`, made with mode 0600 in directories with 0700."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.address = f"file://{self.root}"
        self._made: set[Path] = set()

    def put(self, key: str, content: Content, *, size: int) -> bool:
        path = self._path(key)
        aside = self.root / PARTIAL / secrets.token_hex(16)
        try:
            if path.exists():
                return False
            self._make(aside.parent)
            self._make(path.parent)
            try:
                _write(aside, content, size=size, key=key)
                os.link(aside, path)
            except FileExistsError:
                return False
            finally:
                aside.unlink(missing_ok=True)
            _sync(path.parent)
        except OSError as error:
            raise self._refused(error, f"writing {key}") from error
        return True

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        path = self._path(key)
        try:
            # A link would lead out of the repository, and a pipe would never end.
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(file, "rb", buffering=0) as source:
                if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                    raise RepositoryError(
                        f"{self.address}: {key} is no regular file",
                        hint="nothing but Streamer should write there; remove it",
                    )
                source.seek(start)
                left = length
                while left is None or left > 0:
                    chunk = source.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
                    if not chunk:
                        return
                    left = None if left is None else left - len(chunk)
                    yield chunk
        except (FileNotFoundError, NotADirectoryError):
            raise SnapshotMissingError(f"{self.address}: there is no {key}") from None
        except OSError as error:
            raise self._refused(error, f"reading {key}") from error

    def stat(self, key: str) -> Stored | None:
        try:
            return _stored(key, self._path(key).lstat())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._refused(error, f"looking for {key}") from error

    def list(self, prefix: str) -> Iterator[Stored]:
        below = check_prefix(prefix)
        try:
            yield from _walk(self.root / below, below)
        except OSError as error:
            raise self._refused(error, f"listing {prefix or 'everything'}") from error

    def delete(self, key: str) -> None:
        self._remove(self._path(key), key)

    def unfinished(self) -> Iterator[Stored]:
        try:
            yield from _walk(self.root / PARTIAL, "")
        except OSError as error:
            raise self._refused(error, "listing what is unfinished") from error

    def discard(self, key: str) -> None:
        self._remove(self.root / PARTIAL / check_key(key), key)

    def close(self) -> None:
        return

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _remove(self, path: Path, key: str) -> None:
        try:
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise self._refused(error, f"removing {key}") from error

    def _make(self, directory: Path) -> None:
        """Directories down from the root; what is above it, somebody else has to mount or make."""
        if directory in self._made:
            return
        for each in (*reversed(directory.parents), directory):
            if not each.exists():
                with suppress(FileExistsError):
                    each.mkdir(mode=0o700)
                    _sync(each.parent)
        self._made.add(directory)

    def _refused(self, error: OSError, what: str) -> RepositoryError:
        hints = {
            errno.ENOSPC: "free space there, or let `streamer snapshot prune` do it",
            errno.EDQUOT: "free space there, or let `streamer snapshot prune` do it",
            errno.EACCES: "give the directory to the user that Streamer runs as, mode 700",
            errno.EPERM: "the file system must allow hard links, and this user to make them",
            errno.EOPNOTSUPP: "the file system must allow hard links; most network mounts do",
            errno.EROFS: "the file system is mounted for reading only",
            errno.ELOOP: "nothing in a repository is a link; remove it",
        }
        return RepositoryError(
            f"{self.address}: {what}: {error.strerror}",
            hint=hints.get(error.errno or 0, "see the system's log about this disk"),
        )


def _write(path: Path, content: Content, *, size: int, key: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(file, "wb", buffering=0) as target:
        for chunk in exactly(content, size, key):
            view = memoryview(chunk)
            while view:
                view = view[target.write(view) :]
        os.fsync(target.fileno())


def _sync(directory: Path) -> None:
    """Make the names in a directory durable."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _walk(directory: Path, below: str) -> Iterator[Stored]:
    """Regular files, by their keys; directories that vanish meanwhile were empty."""
    try:
        entries = list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(directory / entry.name, f"{below}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            with suppress(FileNotFoundError):
                yield _stored(below + entry.name, entry.stat(follow_symlinks=False))


def _stored(key: str, found: os.stat_result) -> Stored:
    return Stored(key, found.st_size, found.st_mtime_ns // 1_000_000)
