"""What RocksDB reports as text, as errors that name the directory and the next step."""

from __future__ import annotations

import os
from pathlib import Path

from rocksdict import DbClosedError

from streamer.errors import (
    StateDirectoryError,
    StreamerError,
    TaskCorruptedError,
    TaskMigratedError,
)

__all__ = ["closed", "fault"]

_FULL = ("No space left on device", "Disk quota exceeded", "File too large", "no space")
_CORRUPT = ("Corruption", "checksum mismatch", "No such file or directory", "file size mismatch")


def closed(directory: Path) -> TaskMigratedError:
    return TaskMigratedError(
        f"the database of task {directory.name} was closed: the task is being handed over",
        hint="ask again: the application's status names the worker that owns the task now",
    )


def fault(error: Exception, doing: str, directory: Path) -> Exception:
    """The error to raise instead. What RocksDB did not report is returned as it is."""
    if isinstance(error, DbClosedError):
        return closed(directory)
    # The binding raises what RocksDB says as plain Exception, which nothing else does; directories
    # are made by Python, which raises OSError for the same disk.
    is_of_the_disk = type(error) is Exception or isinstance(error, OSError)
    return _spoken(str(error), doing, directory) if is_of_the_disk else error


def _spoken(text: str, doing: str, directory: Path) -> StreamerError:
    if any(sign in text for sign in _FULL):
        return StateDirectoryError(
            f"the disk is full: {doing} in {directory} failed, {_free(directory)} bytes are free",
            hint="free space on that disk and start the worker again; committed state is intact, "
            f"and what is missing is replayed from the changelog ({text})",
        )
    if "lock hold by" in text or "While lock file" in text:
        return StateDirectoryError(
            f"the database in {directory} is open elsewhere: {text}",
            hint="stop the other process, or close the other handle on this database first",
        )
    if "Too many open files" in text:
        return StateDirectoryError(
            f"too many open files while {doing} in {directory}",
            hint="raise `ulimit -n`, or lower the RocksDB option max_open_files",
        )
    if any(sign in text for sign in _CORRUPT):
        return TaskCorruptedError(
            f"the state of task {directory.name} is damaged: {doing} in {directory} failed: {text}",
            hint=f"move {directory} away and start again: the task is then restored as a whole; "
            "check the disk",
        )
    return StateDirectoryError(
        f"{doing} in {directory} failed: {text}",
        hint="see the file LOG in that directory for what RocksDB did before",
    )


def _free(directory: Path) -> int:
    try:
        status = os.statvfs(directory)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize
