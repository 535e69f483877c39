"""`Backend`: the little that a repository needs of a place that keeps bytes.

An object appears whole or not at all, is never changed, and two writers of one key cannot both be
told that they were first. Keys are paths of plain names; none is a directory of another.
Every backend passes `tests/unit/snapshot/conformance.py`.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from streamer.closable import Closable
from streamer.errors import InvariantError, SnapshotDamagedError

__all__ = [
    "CHUNK_BYTES",
    "Backend",
    "Content",
    "Stored",
    "check_key",
    "check_prefix",
    "exactly",
    "of_bytes",
]

# What is held in memory of a file at a time; larger chunks gained nothing with any backend.
CHUNK_BYTES = 1024 * 1024
KEY_LENGTH_MAX = 900
_NAME = r"[A-Za-z0-9][A-Za-z0-9._=-]{0,199}"
_KEY = re.compile(rf"{_NAME}(?:/{_NAME})*")
_PREFIX = re.compile(rf"(?:{_NAME}/)*")

# May be called again: a put that broke off is begun anew.
Content = Callable[[], Iterable[bytes]]


class Stored(NamedTuple):
    """One object; the time is that of the place's own clock, so all that are there agree."""

    key: str
    size: int
    modified_ms: int


class Backend(Closable):
    """Bytes under keys. Any thread may call; `close` ends what still runs.

    Raises RepositoryUnavailableError for what may pass, RepositoryError for what will not.
    """

    address: str

    @abstractmethod
    def put(self, key: str, content: Content, *, size: int) -> bool:
        """Store an object unless there is one: False then, and nothing was changed.

        Durable at return as far as the place allows. Whatever `content` raises leaves nothing.
        """

    @abstractmethod
    def read(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` on. Raises SnapshotMissingError where there is no object."""

    @abstractmethod
    def stat(self, key: str) -> Stored | None:
        """The object's size and time, None where there is none."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[Stored]:
        """All objects below `prefix` (empty, or ending with a slash), in any order."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    @abstractmethod
    def unfinished(self) -> Iterator[Stored]:
        """What broken puts left behind, which nothing lists; the keys are for `discard` alone."""

    @abstractmethod
    def discard(self, key: str) -> None:
        """Remove what a broken put left behind."""

    @property
    def once(self) -> Backend:
        """The same place without patience: what breaks off is not asked again."""
        return self

    def check_writable(self) -> None:
        """Raise RepositoryError where the place is known to lose what is stored."""
        return


def check_key(key: str) -> str:
    """The key, where it is one. Keys are made here, never taken from a manifest as they are."""
    if len(key) > KEY_LENGTH_MAX or _KEY.fullmatch(key) is None:
        raise InvariantError(f"{key!r} is not a key of an object")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix, where it is one."""
    if _PREFIX.fullmatch(prefix) is None:
        raise InvariantError(f"{prefix!r} is not a prefix of keys")
    return prefix


def of_bytes(content: bytes) -> Content:
    """Content that is at hand."""
    return lambda: (content,)


def exactly(content: Content, size: int, key: str) -> Iterator[bytes]:
    """The content, which must have this size: a file that changes meanwhile is not stored."""
    sent = 0
    for chunk in content():
        sent += len(chunk)
        if sent > size:
            break
        yield chunk
    if sent != size:
        raise SnapshotDamagedError(
            f"{key}: {size} bytes were to be stored, and the source has "
            + (f"{sent}" if sent < size else "more"),
            hint="the file was changed while it was read; make the snapshot again",
        )
