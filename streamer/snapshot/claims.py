"""Claims: what keeps a snapshot or its files from being deleted, and for how long.

A *pending* snapshot and a restore's *lease* are alive while beats come; a *hold* has no end but its
release. Ages are differences of the repository's own times, so a host with a wrong clock neither
loses its claim nor ends another's.
"""

from __future__ import annotations

import logging
import re
import secrets
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from streamer.closable import Closable
from streamer.errors import (
    OperationRefusedError,
    RepositoryError,
    SnapshotDamagedError,
    SnapshotMissingError,
    StreamerError,
)
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.remote.api import of_bytes
from streamer.snapshot.shelf import Shelf

__all__ = [
    "BEAT_MS",
    "CLAIM_MS",
    "Claim",
    "Hold",
    "Lease",
    "Leased",
    "Seen",
    "hold",
    "holds",
    "lease",
    "leased",
    "note",
    "read",
    "release",
    "remove",
    "seen",
]

_log = logging.getLogger(__name__)
T = TypeVar("T")

BEAT_MS = 60_000
# Fifteen beats: an outage of the repository for ten minutes ends no claim.
CLAIM_MS = 15 * 60_000

_NOTE = "note"
_HOLD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# For a beat that is under way; one that comes later is of a claim without a note.
_CLOSE_S = 5.0


class Claim(Closable):
    """One claim of this process, with beats from a thread until it is closed."""

    def __init__(self, shelf: Shelf, directory: str, body: bytes, *, beat_ms: int) -> None:
        """`directory` is the claim's own, below the shelf. It holds from here on."""
        self._shelf = shelf
        self._root = f"{shelf.root}{directory}/"
        self._beat_ms = beat_ms
        self._closing = threading.Event()
        self._beats: list[str] = []
        shelf.write_document(self._root + _NOTE, body)
        self._thread: threading.Thread | None = None
        if beat_ms:
            self._thread = threading.Thread(target=self._keep, name="snapshot-claim", daemon=True)
            self._thread.start()

    def _keep(self) -> None:
        number = 0
        while not self._closing.wait(self._beat_ms / 1000):
            number += 1
            try:
                self.beat(number)
            except RepositoryError as error:
                _log.warning("a claim at %s could not be renewed: %s", self._root, error)

    def beat(self, number: int) -> None:
        """Say that the claim is alive. The beat before goes only when this one stands."""
        key = f"{self._root}beat-{number:06d}"
        self._shelf.backend.put(key, of_bytes(b"beat\n"), size=5)
        old, self._beats = self._beats, [key]
        for each in old:
            self._shelf.backend.delete(each)

    def close(self) -> None:
        """End the claim. What cannot be removed ends by itself, and `prune` removes it."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
        # Asked once: whoever has all files need not wait for a repository that went away since.
        backend = self._shelf.backend.once
        try:
            # The note first: beats without one are no claim.
            for key in [self._root + _NOTE, *self._beats]:
                backend.delete(key)
        except RepositoryError as error:
            _log.warning("a claim at %s could not be removed: %s", self._root, error)


class Seen(NamedTuple):
    """A claim as a listing shows it."""

    name: str
    last_ms: int
    has_note: bool
    keys: tuple[str, ...]

    def is_live(self, now_ms: int, claim_ms: int) -> bool:
        return self.has_note and now_ms - self.last_ms <= claim_ms


def seen(shelf: Shelf, kind: str) -> list[Seen]:
    """The claims below `pending/` or `leases/`, live or not."""
    prefix = f"{shelf.root}{kind}/"
    found: dict[str, list[tuple[str, int]]] = {}
    for stored in shelf.backend.list(prefix):
        name = stored.key.removeprefix(prefix).partition("/")[0]
        found.setdefault(name, []).append((stored.key, stored.modified_ms))
    return [
        Seen(
            name,
            max(modified_ms for _key, modified_ms in each),
            any(key == f"{prefix}{name}/{_NOTE}" for key, _modified_ms in each),
            tuple(key for key, _modified_ms in each),
        )
        for name, each in sorted(found.items())
    ]


def note(shelf: Shelf, kind: str, name: str) -> bytes:
    """What a claim says. Raises SnapshotMissingError when it has ended meanwhile."""
    return shelf.document(f"{shelf.root}{kind}/{name}/{_NOTE}", 128 * 1024 * 1024)


def remove(shelf: Shelf, claims: Iterable[Seen]) -> None:
    """Remove claims that have ended, the notes first."""
    for claim in claims:
        for key in sorted(claim.keys, key=lambda key: not key.endswith("/" + _NOTE)):
            shelf.backend.delete(key)


class Lease(msgspec.Struct, frozen=True):
    """What a restore writes before it reads a manifest."""

    stem: str
    holder: str


class Hold(msgspec.Struct, frozen=True):
    """Why a snapshot must stay."""

    name: str
    reason: str
    holder: str
    created_ms: int


# Made here, once: msgspec crashes where several threads meet a type for the first time.
_decoders: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Lease, Hold)
}


@dataclass(slots=True)
class Leased(Closable):
    """A snapshot that stays as it is while this is open."""

    manifest: Manifest
    claim: Claim

    def close(self) -> None:
        self.claim.close()


def lease(
    shelf: Shelf,
    stem: str,
    *,
    holder: str = "",
    beat_ms: int = BEAT_MS,
    even_condemned: bool = False,
) -> Leased:
    """Keep a snapshot while it is read. Raises SnapshotMissingError when it is being deleted.

    The lease stands before the mark is looked for and the manifest read: whoever deletes, marks
    first and looks for leases afterwards, so one of the two sees the other.
    """
    body = msgspec.json.encode(Lease(stem, holder or socket.gethostname()))
    claim = Claim(shelf, f"leases/{secrets.token_hex(16)}", body, beat_ms=beat_ms)
    try:
        is_going = not even_condemned and shelf.is_condemned(stem)
        manifest = None if is_going else shelf.manifest(stem)
        if manifest is None:
            raise SnapshotMissingError(
                f"{shelf.backend.address}: snapshot {stem} of {shelf} is being deleted",
                hint="choose a newer one",
            )
    except BaseException:
        claim.close()
        raise
    return Leased(manifest, claim)


def read(raw: bytes, kind: type[T], shelf: Shelf) -> T:
    """What cannot be read may keep anything: who deletes must stop there."""
    try:
        found: T = _decoders[kind].decode(raw)
        return found
    except msgspec.DecodeError as error:
        raise SnapshotDamagedError(
            f"{shelf.backend.address}: a {kind.__name__.lower()} of {shelf} cannot be read:"
            f" {error}",
            hint="a newer version may have written it; nothing is deleted while it is there",
        ) from error


def leased(shelf: Shelf, now_ms: int, claim_ms: int) -> dict[str, str]:
    """Who reads which snapshot at this moment: holders by stem."""
    found = {}
    for claim in seen(shelf, "leases"):
        if claim.is_live(now_ms, claim_ms):
            try:
                said = read(note(shelf, "leases", claim.name), Lease, shelf)
            except SnapshotMissingError:
                continue
            found[said.stem] = said.holder
    return found


def hold(shelf: Shelf, stem: str, about: Hold) -> None:
    """Keep a snapshot until it is released by the same name. Doing it twice changes nothing.

    Raises OperationRefusedError when it is being deleted, or is not there.
    """
    if _HOLD_NAME.fullmatch(about.name) is None:
        raise OperationRefusedError(
            f"{about.name!r} is not a usable name of a hold",
            hint="use letters, digits, '.', '_' and '-', at most 100, a letter or digit first",
        )
    key = f"{shelf.root}holds/{stem}/{about.name}"
    is_new = shelf.write_document(key, msgspec.json.encode(about))
    try:
        if not shelf.is_condemned(stem) and shelf.manifest(stem) is not None:
            return
        problem: StreamerError | None = None
    except SnapshotMissingError as error:
        problem = error
    if is_new:
        shelf.backend.delete(key)
    raise OperationRefusedError(
        f"snapshot {stem} of {shelf} cannot be held: it is being deleted or is not there",
        hint="choose a newer one",
    ) from problem


def release(shelf: Shelf, stem: str, name: str) -> None:
    """End a hold. One that is not there is no error."""
    shelf.backend.delete(f"{shelf.root}holds/{stem}/{name}")


def holds(shelf: Shelf) -> dict[str, list[Hold]]:
    """All holds by the snapshot's stem."""
    prefix = f"{shelf.root}holds/"
    found: dict[str, list[Hold]] = {}
    for stored in shelf.backend.list(prefix):
        stem = stored.key.removeprefix(prefix).partition("/")[0]
        try:
            said = read(shelf.document(stored.key), Hold, shelf)
        except SnapshotMissingError:
            continue
        found.setdefault(stem, []).append(said)
    return found
