"""A directory for a moment, which a kill of its process does not leave for ever: `scratch`.

A restore for a look may have hundreds of gigabytes. Where its process is killed, nobody removes
them; so the next one that begins in the same place, on the same host, does.

    streamer-look-<random>.lock     names the host; locked by its process as long as that lives
    streamer-look-<random>/         the files

The lock file comes before the directory and goes after it: so a directory whose lock can be had was
left by a kill. Whatever has another name, another host or another owner is never touched.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from streamer.errors import StateDirectoryError

__all__ = ["scratch", "sweep"]

_log = logging.getLogger(__name__)

_PREFIX, _LOCK = "streamer-look-", ".lock"


@contextmanager
def scratch(base: Path | None = None) -> Iterator[Path]:
    """An empty directory below `base`, or below the system's own for such; it goes at the end.

    What earlier ones left there goes first. Raises StateDirectoryError where it cannot be made.
    """
    base = base or Path(tempfile.gettempdir())
    try:
        sweep(base)
        lock, descriptor = _held(base)
        try:
            directory = lock.with_suffix("")
            directory.mkdir(mode=0o700)
        except OSError:
            _release(lock, descriptor)
            raise
    except OSError as error:
        raise StateDirectoryError(
            f"{base} cannot be restored to: {error.strerror or error}",
            hint="name a directory that exists and that this user may write to",
        ) from error
    try:
        yield directory
    finally:
        _remove(directory)
        _release(lock, descriptor)


def sweep(base: Path) -> list[Path]:
    """Remove what processes of this host left below `base` when they were killed."""
    removed = []
    for lock in sorted(base.glob(f"{_PREFIX}*{_LOCK}")):
        with suppress(FileNotFoundError, PermissionError):
            descriptor = _taken(lock)
            if descriptor is None:
                continue
            directory = lock.with_suffix("")
            host = os.pread(descriptor, 300, 0).decode(errors="replace")
            # Killed before it could write its host down: then there is no directory yet.
            if host == socket.gethostname() or not (host or directory.exists()):
                _remove(directory)
                _release(lock, descriptor)
                removed.append(directory)
                _log.info("removed %s, which a process left that was killed", directory)
            else:
                os.close(descriptor)
    return removed


def _held(base: Path) -> tuple[Path, int]:
    """A lock file of its own, locked, with the host in it."""
    while True:
        lock = base / f"{_PREFIX}{secrets.token_hex(8)}{_LOCK}"
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        descriptor = _taken(lock)
        if descriptor is not None:
            os.pwrite(descriptor, socket.gethostname().encode(), 0)
            return lock, descriptor
        # Somebody who sweeps took it for one that was left.


def _taken(lock: Path) -> int | None:
    """Its descriptor, locked; None where another process has it, or it is another user's. The
    kernel gives a lock back when its process dies, and children do not inherit it."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(descriptor)
        if found.st_uid == os.geteuid() and os.path.samestat(found, lock.stat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _release(lock: Path, descriptor: int) -> None:
    """Its lock file goes last, and only where the directory has gone: else the next one tries."""
    if not lock.with_suffix("").exists():
        lock.unlink(missing_ok=True)
    os.close(descriptor)


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        _log.warning("%s could not be removed: the next look tries again", directory)
