"""Encryption before anything leaves the host, and what it hides.

    file      header, chunk, chunk, ...          header: b"SNE1", salt (16)
    chunk     AES-256-GCM of 256 KiB, with its tag (16); the last one may be shorter, or empty
    nonce     number of the chunk (11 bytes), 1 for the last one, else 0
    key       HKDF(master, salt): of this file alone, so that numbers can be nonces

A chunk moved, repeated, left out or of another file does not open, nor does a file that was cut:
its last chunk says that it is the last. What the content is of (its place in the repository) is
bound in, so that one object cannot stand for another. Names of objects are keyed hashes: who sees
the repository cannot tell whether a content that he knows is in it. Applications, tasks, sizes and
times stay visible.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from streamer.errors import ConfigError, SnapshotDamagedError

__all__ = ["AesGcm", "Cipher", "Plain", "Range", "read_key"]

CHUNK_BYTES = 256 * 1024
TAG_BYTES = 16
MAGIC = b"SNE1"
SALT_BYTES = 16
HEADER_BYTES = len(MAGIC) + SALT_BYTES
KEY_BYTES = 32

# Reads an object from a byte on, all of it or so many bytes.
Range = Callable[[int, int | None], Iterator[bytes]]


class Cipher(Protocol):
    """How contents look in the repository."""

    # Tells keys apart without telling the key; empty where nothing is encrypted.
    key_id: str

    def name(self, sha256: str) -> str:
        """The name under which a content is kept, 64 hexadecimal digits."""

    def stored_size(self, size: int) -> int: ...

    def seal(self, chunks: Iterable[bytes], place: str) -> Iterator[bytes]:
        """The content as it is stored at `place`."""

    def aligned(self, start: int) -> int:
        """The last byte at or before `start` from which `open` can begin."""

    def open(self, read: Range, place: str, *, start: int = 0) -> Iterator[bytes]:
        """The content from an aligned byte on. Raises SnapshotDamagedError."""


class Plain:
    """Contents as they are."""

    key_id = ""

    def name(self, sha256: str) -> str:
        return sha256

    def stored_size(self, size: int) -> int:
        return size

    def seal(self, chunks: Iterable[bytes], place: str) -> Iterator[bytes]:
        yield from chunks

    def aligned(self, start: int) -> int:
        return start

    def open(self, read: Range, place: str, *, start: int = 0) -> Iterator[bytes]:
        yield from read(start, None)


class AesGcm:
    """Contents that only who has the key can read, and nobody can change unnoticed."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.key_id = self._derived(b"id").hex()[:16]
        self._names = self._derived(b"names")

    def name(self, sha256: str) -> str:
        return hmac.digest(self._names, bytes.fromhex(sha256), "sha256").hex()

    def stored_size(self, size: int) -> int:
        chunks = max(1, -(-size // CHUNK_BYTES))
        return HEADER_BYTES + size + chunks * TAG_BYTES

    def seal(self, chunks: Iterable[bytes], place: str) -> Iterator[bytes]:
        salt = secrets.token_bytes(SALT_BYTES)
        yield MAGIC + salt
        aead = AESGCM(self._derived(b"file", salt))
        for number, (chunk, is_last) in enumerate(_even(chunks, CHUNK_BYTES)):
            yield aead.encrypt(_nonce(number, is_last), chunk, place.encode())

    def aligned(self, start: int) -> int:
        return start - start % CHUNK_BYTES

    def open(self, read: Range, place: str, *, start: int = 0) -> Iterator[bytes]:
        header = b"".join(read(0, HEADER_BYTES))
        if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
            raise _not_opened(place, "it has no header of an encrypted file")
        aead = AESGCM(self._derived(b"file", header[len(MAGIC) :]))
        first = start // CHUNK_BYTES
        at = HEADER_BYTES + first * (CHUNK_BYTES + TAG_BYTES)
        sealed = _even(read(at, None), CHUNK_BYTES + TAG_BYTES)
        for number, (chunk, is_last) in enumerate(sealed, first):
            try:
                yield aead.decrypt(_nonce(number, is_last), chunk, place.encode())
            except InvalidTag:
                raise _not_opened(place, f"chunk {number} was changed, moved or cut") from None

    def _derived(self, purpose: bytes, salt: bytes | None = None) -> bytes:
        hkdf = HKDF(SHA256(), KEY_BYTES, salt=salt, info=b"streamer snapshot " + purpose)
        return hkdf.derive(self._key)


def read_key(path: Path) -> AesGcm:
    """The cipher of a key file. Raises ConfigError for one that others can read, or is none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(file, encoding="ascii") as source:
            found = os.fstat(source.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
                raise ConfigError(
                    f"the key file {path} must be a file that only its owner can read",
                    hint=f"chmod 600 {path}",
                )
            text = source.read(1000).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the key file {path} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="set snapshot_key_file to a file with 64 hexadecimal digits",
        ) from None
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text) is None:
        # What it holds instead may be another secret, so it is not shown.
        raise ConfigError(
            f"the key file {path} does not hold 64 hexadecimal digits",
            hint="openssl rand -hex 32 makes them",
        )
    return AesGcm(bytes.fromhex(text))


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _even(chunks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """The same bytes in chunks of one size, and whether each is the last; one at least."""
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        # One that is full may be the last: only what comes behind it tells.
        while len(gathered) > size:
            yield bytes(gathered[:size]), False
            del gathered[:size]
    yield bytes(gathered), True


def _not_opened(place: str, why: str) -> SnapshotDamagedError:
    return SnapshotDamagedError(
        f"{place} cannot be decrypted: {why}",
        hint="choose another snapshot; the key is the right one, since the repository knows its id",
    )
