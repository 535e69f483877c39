"""`Repository`: a place for snapshots that was found fit for them, and its shelves.

    streamer-repository              the format, and which key contents are encrypted with
    tasks/<application>/layout-1/0_3 which tasks have a shelf
    applications/...                 the shelves
    clock/..., self-test/...         there for a moment

The first write of a process tries what everything rests on: that of two writers of one name exactly
one is told that it was first. A server that ignores the condition is refused before it matters.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
from contextlib import suppress

from streamer.closable import Closable
from streamer.errors import (
    ConfigError,
    RepositoryError,
    RepositoryUnavailableError,
    SnapshotMismatchError,
    SnapshotMissingError,
)
from streamer.ids import FIRST_LAYOUT, Layout, TaskId
from streamer.snapshot.cipher import Cipher, Plain
from streamer.snapshot.claims import BEAT_MS, CLAIM_MS
from streamer.snapshot.remote.api import Backend, of_bytes
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Transfers

__all__ = ["FORMAT", "Repository"]

_log = logging.getLogger(__name__)

FORMAT = 1
_MARKER = "streamer-repository"
_TASKS = "tasks/"
_TASK = re.compile(r"([^/]+)/layout-(\d{1,6})/(\d{1,9}_\d{1,9})")


class Repository(Closable):
    """Snapshots of any number of applications. Any thread may call."""

    def __init__(
        self,
        backend: Backend,
        cipher: Cipher | None = None,
        *,
        transfers: Transfers | None = None,
        beat_ms: int = BEAT_MS,
        claim_ms: int = CLAIM_MS,
    ) -> None:
        """Raises ConfigError when the repository is encrypted with another key, or none; and
        SnapshotMismatchError when it has another format."""
        self.backend = backend
        self.cipher: Cipher = cipher or Plain()
        self.transfers = transfers or Transfers()
        self.beat_ms = beat_ms
        self.claim_ms = claim_ms
        self._lock = threading.Lock()
        self._is_fit = False
        self._check_marker(self._marker())

    @property
    def address(self) -> str:
        return self.backend.address

    def shelf(self, application: str, task: TaskId, layout: Layout = FIRST_LAYOUT) -> Shelf:
        return Shelf(self.backend, self.cipher, application, task, layout)

    def shelves(self, application: str | None = None) -> list[Shelf]:
        """The shelves of one application or of all, in order."""
        below = _TASKS if application is None else f"{_TASKS}{application}/"
        found = []
        for stored in self.backend.list(below):
            match = _TASK.fullmatch(stored.key.removeprefix(_TASKS))
            if match is not None:
                found.append((match[1], Layout(int(match[2])), TaskId.parse(match[3])))
        return [self.shelf(name, task, layout) for name, layout, task in sorted(found)]

    def note_task(self, shelf: Shelf) -> None:
        """Make a shelf known; before anything is put into it."""
        self.make_fit()
        key = f"{_TASKS}{shelf.application}/layout-{shelf.layout}/{shelf.task}"
        self.backend.put(key, of_bytes(b"task\n"), size=5)

    def now_ms(self) -> int:
        """The time by the repository's own clock, which all its ages are measured by."""
        key = f"clock/{secrets.token_hex(16)}"
        self.backend.put(key, of_bytes(b"now\n"), size=4)
        found = self.backend.stat(key)
        self._delete_if_allowed(key)
        if found is None:
            raise RepositoryUnavailableError(
                f"{self.address}: what was just written is not there",
                hint="the repository must show at once what was stored",
            )
        return found.modified_ms

    def make_fit(self) -> None:
        """Try the place, once, and mark it as a repository. Raises RepositoryError."""
        with self._lock:
            if self._is_fit:
                return
            self.backend.check_writable()
            self._try_conditions()
            content = json.dumps({"format": FORMAT, "key_id": self.cipher.key_id}).encode()
            if not self.backend.put(_MARKER, of_bytes(content), size=len(content)):
                self._check_marker(self._marker())
            self._is_fit = True

    def take_as_fit(self) -> None:
        """Another process of the same worker has tried the place."""
        self._is_fit = True

    def close(self) -> None:
        self.backend.close()

    def _try_conditions(self) -> None:
        key = f"self-test/{secrets.token_hex(16)}"
        first = self.backend.put(key, of_bytes(b"first\n"), size=6)
        second = self.backend.put(key, of_bytes(b"second\n"), size=7)
        content = b"".join(self.backend.read(key))
        part = b"".join(self.backend.read(key, start=1, length=2))
        listed = [found.size for found in self.backend.list("self-test/") if found.key == key]
        self._delete_if_allowed(key)
        if (first, second, content) != (True, False, b"first\n"):
            raise RepositoryError(
                f"{self.address}: of two writers of one name both were told that they were first",
                hint="the server ignores If-None-Match, without which two workers overwrite each"
                " other's snapshots; use one that does not (Amazon S3, MinIO and versitygw do)",
            )
        if (part, listed) != (b"ir", [6]):
            raise RepositoryError(
                f"{self.address}: a part of a file was read as {part!r}, and a listing shows the"
                f" sizes {listed}",
                hint="the server does not do what S3 does; use another one",
            )

    def _delete_if_allowed(self, key: str) -> None:
        """A writer may have no right to delete, so that it cannot destroy what others wrote."""
        try:
            self.backend.delete(key)
        except RepositoryUnavailableError:
            raise
        except RepositoryError as error:
            _log.debug("%s stays: %s", key, error)

    def _marker(self) -> bytes | None:
        with suppress(SnapshotMissingError):
            return b"".join(self.backend.read(_MARKER, length=10_000))
        return None

    def _check_marker(self, content: bytes | None) -> None:
        if content is None:
            return
        try:
            said = json.loads(content)
            found, key_id = int(said["format"]), str(said["key_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise RepositoryError(
                f"{self.address}: {_MARKER} cannot be read: {error}",
                hint="this is no repository of Streamer, or it is damaged: copy that file from"
                " another repository with the same key",
            ) from error
        if found != FORMAT:
            raise SnapshotMismatchError(
                f"{self.address} has format {found}, this version of Streamer uses {FORMAT}",
                hint="use the version that made it, or another directory or prefix",
            )
        if key_id != self.cipher.key_id:
            raise ConfigError(
                f"{self.address} is {_keyed(key_id)}, and this process has"
                f" {_keyed(self.cipher.key_id, 'a key')}",
                hint="set snapshot_key_file to the key's file; a new key needs a new repository, to"
                " which `streamer snapshot copy` brings the snapshots",
            )


def _keyed(key_id: str, noun: str = "encrypted with the key") -> str:
    if not key_id:
        return "no key" if noun == "a key" else "not encrypted"
    return f"{noun} {key_id}" if noun != "a key" else f"the key {key_id}"
