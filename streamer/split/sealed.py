"""Records of what is done, in files of this host: whole under a sum, or not there.

{"version":1,...}\\n
sha256 <64 hexadecimal digits>\\n        of the line above
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from streamer.errors import OperationRefusedError, StateDirectoryError, TaskCorruptedError
from streamer.snapshot.disk import sync

__all__ = ["VERSION", "held", "load", "save"]

# 2: rows are counted with XXH3.
VERSION = 2
_TAIL = re.compile(rb"\nsha256 ([0-9a-f]{64})\n\Z")
Record = TypeVar("Record", bound=msgspec.Struct)


class _Version(msgspec.Struct):
    version: int


# Made here, once: msgspec crashes where several threads meet a type for the first time.
_version_decoder = msgspec.json.Decoder(_Version)


def save(path: Path, record: msgspec.Struct) -> None:
    """Durable when this returns. Raises StateDirectoryError where the disk refuses."""
    body = msgspec.json.encode(record, order="deterministic")
    part = path.with_name(path.name + ".part")
    try:
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(number, "wb") as file:
            file.write(body + b"\nsha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync(path.parent)
    except OSError as error:
        raise StateDirectoryError(
            f"{path} cannot be written: {error.strerror}",
            hint="correct what the system says and run it again: what is done is kept",
        ) from error


def load(path: Path, decoder: msgspec.json.Decoder[Record]) -> Record | None:
    """None where there is none. Raises TaskCorruptedError for one that cannot be trusted, and
    StateDirectoryError for one of another version."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateDirectoryError(f"{path} cannot be read: {error.strerror}") from error
    tail = _TAIL.search(raw[-80:])
    body = raw[: len(raw) - len(tail[0])] if tail else raw
    if tail is None or hashlib.sha256(body).hexdigest().encode() != tail[1]:
        raise _damaged(path, "its sum is wrong")
    try:
        version = _version_decoder.decode(body).version
        if version != VERSION:
            raise StateDirectoryError(
                f"{path} has version {version}, this version of Streamer reads {VERSION}",
                hint="go on with the version that made it, or begin in another directory",
            )
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _damaged(path, str(error)) from error


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold a lock file for as long as the block; the end of the process lets go of it too. Raises
    OperationRefusedError while another process holds it. The file stays: whoever removed it could
    let in two at once."""
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateDirectoryError(
            f"{lock} cannot be made: {error.strerror}",
            hint="name a directory that this user may write to",
        ) from error
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(number, 200, 0).decode(errors="replace").strip() or "another process"
            raise OperationRefusedError(
                f"{lock.with_suffix('')} is being made by {holder}",
                hint="wait for it, or end that process: what it made so far is made again",
            ) from None
        os.ftruncate(number, 0)
        os.pwrite(number, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(number)


def _damaged(path: Path, why: str) -> TaskCorruptedError:
    return TaskCorruptedError(
        f"{path} cannot be trusted: {why}",
        hint="move away what it stands beside, and run it again: that part is made anew",
    )
