"""Files of another host. Short requests go by sftp, contents through `cat` and `dd` on a raw
channel.

sftp in Python moves 30 to 60 MB/s, a raw channel 160; an account for sftp alone is noticed, and
served by sftp. Either way a file is written aside, its size compared, and renamed, which sftp
refuses where the name is taken. An end of the stream proves nothing: who reads knows size and hash.
"""

from __future__ import annotations

import secrets
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from paramiko import SSHException
from paramiko.sftp import CMD_EXTENDED

from streamer.errors import RepositoryError, RepositoryUnavailableError, SnapshotMissingError
from streamer.snapshot.remote.api import (
    CHUNK_BYTES,
    Backend,
    Content,
    Stored,
    check_key,
    check_prefix,
    exactly,
)
from streamer.snapshot.remote.directory import PARTIAL
from streamer.snapshot.remote.ssh.ahead import gathered
from streamer.snapshot.remote.ssh.link import BROKEN, SILENCE_S, Link, SshAccess
from streamer.snapshot.remote.ssh.names import Names
from streamer.snapshot.remote.ssh.words import refused

__all__ = ["SshBackend"]

FAULTS = (*BROKEN, OSError)
# Below this a channel of its own (45 ms) costs more than sftp's slower way.
SMALL_BYTES = 256 * 1024
# What sftp gives in one answer, and how much is asked for ahead.
PIECE_BYTES = 32 * 1024
WINDOW_BYTES = 4 * 1024 * 1024


class SshBackend(Backend):
    """Files below the absolute path `root`; on disk as `DirectoryBackend` keeps them."""

    def __init__(self, root: str, access: SshAccess) -> None:
        self.root = root.rstrip("/")
        self._link = Link(access)
        user = f"{access.user}@" if access.user else ""
        self.address = f"ssh://{user}{self._link.where}{self.root}"
        self._made: set[str] = set()
        self._has_shell: bool | None = None
        self._names = Names(self.address)
        self._lock = threading.Lock()

    def put(self, key: str, content: Content, *, size: int) -> bool:
        path, aside = self._path(key), f"{self.root}/{PARTIAL}/{secrets.token_hex(16)}"
        what = f"writing {key}"
        if self.stat(key) is not None:
            return False
        try:
            self._make(f"{self.root}/{PARTIAL}")
            self._make(path.rpartition("/")[0])
            try:
                self._write(aside, exactly(content, size, key), size)
                with self._link.files() as sftp:
                    found = sftp.stat(aside).st_size
                    if found != size:
                        # Several writes are under way at once, whose refusals nobody is told.
                        raise RepositoryError(
                            f"{self.address}: {what}: {found} of {size} bytes were taken",
                            hint="look there for a full disk or a quota",
                        )
                    return self._publish(sftp, aside, path)
            except BaseException:
                with suppress(*FAULTS, RepositoryError), self._link.files() as sftp:
                    sftp.remove(aside)
                raise
        except FAULTS as error:
            raise self._link.failure(error, what) from error

    def _publish(self, sftp: Any, aside: str, path: str) -> bool:
        try:
            sftp.rename(aside, path)
        except OSError:
            # The protocol has no word for a name that is taken.
            if not _exists(sftp, path):
                raise
            sftp.remove(aside)
            return False
        self._names.sync(sftp, path.rpartition("/")[0])
        return True

    def _write(self, path: str, chunks: Iterator[bytes], size: int) -> None:
        # Gathered first: a source that is slow, or held to a pace, must not hold up the others.
        small = b"".join(chunks) if size <= SMALL_BYTES else b""
        with self._link.files() as sftp, sftp.open(path, "wx") as file:
            sftp.chmod(path, 0o600)
            _fill(sftp, file, [small])
        if size <= SMALL_BYTES:
            return
        with self._link.transfer():
            if self._shell():
                self._write_by_channel(path, chunks)
                return
            sftp = self._link.sftp()
            try:
                with sftp.open(path, "r+") as file:
                    _fill(sftp, file, chunks)
            finally:
                sftp.close()

    def _write_by_channel(self, path: str, chunks: Iterator[bytes]) -> None:
        words = ["dd", f"of={path}", f"bs={CHUNK_BYTES}", "conv=notrunc,fsync"]
        with self._link.command(words) as channel:
            try:
                for chunk in chunks:
                    # What is left of its argument, `sendall` copies for each packet.
                    for at in range(0, len(chunk), PIECE_BYTES):
                        channel.sendall(chunk[at : at + PIECE_BYTES])
                channel.shutdown_write()
            except OSError:
                # The command has ended before its input: its own words say why.
                self._check_end(channel, f"writing {path}")
                raise
            except BaseException:
                # It may not have opened the file yet, and would make it again after its removal.
                with suppress(*FAULTS):
                    channel.shutdown_write()
                    channel.status_event.wait(SILENCE_S)
                raise
            self._check_end(channel, f"writing {path}")

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        path = self._path(key)
        try:
            with self._link.files() as sftp:
                found = sftp.lstat(path)
            if not stat.S_ISREG(found.st_mode):
                raise RepositoryError(
                    f"{self.address}: {key} is no regular file",
                    hint="nothing but Streamer should write there; remove it",
                )
            left = max(0, found.st_size - start)
            left = left if length is None else min(left, length)
            if left <= SMALL_BYTES:
                yield self._read_small(path, start, left)
                return
            with self._link.transfer():
                if length is None and self._shell():
                    yield from self._read_by_channel(path, start)
                else:
                    yield from self._read_by_sftp(path, start, left)
        except FileNotFoundError:
            raise SnapshotMissingError(f"{self.address}: there is no {key}") from None
        except FAULTS as error:
            raise self._link.failure(error, f"reading {key}") from error

    def _read_small(self, path: str, start: int, length: int) -> bytes:
        with self._link.files() as sftp, sftp.open(path, "rb") as file:
            file.seek(start)
            return _whole(bytes(file.read(length)), length)

    def _read_by_channel(self, path: str, start: int) -> Iterator[bytes]:
        words = ["tail", "-c", f"+{start + 1}", path] if start else ["cat", path]
        with self._link.command(words) as channel:
            yield from gathered(iter(lambda: channel.recv(CHUNK_BYTES), b""))
            self._check_end(channel, f"reading {path}")
            _check_said(channel)

    def _read_by_sftp(self, path: str, start: int, length: int) -> Iterator[bytes]:
        sftp = self._link.sftp()
        try:
            with sftp.open(path, "rb") as file:
                end = start + length
                # All requests of a window are under way at once. Without windows a thread of the
                # library would ask for the whole file, and die loudly where a reader stops.
                for at in range(start, end, WINDOW_BYTES):
                    stop = min(end, at + WINDOW_BYTES)
                    pieces = [
                        (piece, min(PIECE_BYTES, stop - piece))
                        for piece in range(at, stop, PIECE_BYTES)
                    ]
                    yield _whole(b"".join(file.readv(pieces)), stop - at)
        finally:
            sftp.close()

    def stat(self, key: str) -> Stored | None:
        path = self._path(key)
        try:
            with self._link.files() as sftp:
                return _stored(key, sftp.lstat(path))
        except FileNotFoundError:
            return None
        except FAULTS as error:
            raise self._link.failure(error, f"looking for {key}") from error

    def list(self, prefix: str) -> Iterator[Stored]:
        below = check_prefix(prefix)
        try:
            yield from self._walk(f"{self.root}/{below}".rstrip("/"), below)
        except FAULTS as error:
            raise self._link.failure(error, f"listing {prefix or 'everything'}") from error

    def delete(self, key: str) -> None:
        self._remove(self._path(key), key)

    def unfinished(self) -> Iterator[Stored]:
        try:
            yield from self._walk(f"{self.root}/{PARTIAL}", "")
        except FAULTS as error:
            raise self._link.failure(error, "listing what is unfinished") from error

    def discard(self, key: str) -> None:
        self._remove(f"{self.root}/{PARTIAL}/{check_key(key)}", key)

    def close(self) -> None:
        self._link.drop()

    def _path(self, key: str) -> str:
        return f"{self.root}/{check_key(key)}"

    def _remove(self, path: str, key: str) -> None:
        try:
            with self._link.files() as sftp:
                sftp.remove(path)
        except FileNotFoundError:
            return
        except FAULTS as error:
            raise self._link.failure(error, f"removing {key}") from error

    def _walk(self, directory: str, below: str) -> Iterator[Stored]:
        try:
            with self._link.files() as sftp:
                entries = sftp.listdir_attr(directory)
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.filename.startswith("."):
                continue
            if stat.S_ISDIR(entry.st_mode):
                yield from self._walk(f"{directory}/{entry.filename}", f"{below}{entry.filename}/")
            elif stat.S_ISREG(entry.st_mode):
                yield _stored(below + entry.filename, entry)

    def _make(self, directory: str) -> None:
        if directory in self._made:
            return
        with self._link.files() as sftp:
            names = directory.strip("/").split("/")
            paths = ["/" + "/".join(names[:count]) for count in range(1, len(names) + 1)]
            missing = []
            for path in reversed(paths):
                if _exists(sftp, path):
                    break
                missing.append(path)
            for path in reversed(missing):
                try:
                    sftp.mkdir(path, 0o700)
                except OSError:
                    if not _exists(sftp, path):
                        raise
                self._names.sync(sftp, path.rpartition("/")[0] or "/")
        self._made.add(directory)

    def _shell(self) -> bool:
        """Whether commands run there, and say nothing of their own: what a login prints would be
        taken for contents."""
        with self._lock:
            if self._has_shell is None:
                token = secrets.token_hex(8)
                try:
                    with self._link.command(["echo", token]) as channel:
                        said = b"".join(iter(lambda: channel.recv(4096), b""))
                except SSHException:
                    said = b""
                self._has_shell = said == f"{token}\n".encode()
            return self._has_shell

    def _check_end(self, channel: Any, what: str) -> None:
        """Raise unless the command has ended well."""
        if not channel.status_event.wait(SILENCE_S):
            raise TimeoutError(f"no end of the command within {SILENCE_S} s")
        status = channel.recv_exit_status()
        if status == 0:
            return
        words = _last_words(channel)
        if status < 0:
            raise RepositoryUnavailableError(f"{self.address}: {what}: the command was cut off")
        raise refused(words, f"{self.address}: {what}: {words or f'status {status}'}")


def _check_said(channel: Any) -> None:
    """The status of a command may come before the last of what it says."""
    if not channel.eof_received:
        raise EOFError("what the command said was cut off")


def _whole(data: bytes, length: int) -> bytes:
    """The library takes the end of a connection for the end of a file."""
    if len(data) < length:
        raise EOFError(f"{length - len(data)} bytes did not come")
    return data


def _last_words(channel: Any) -> str:
    with suppress(OSError):
        text = channel.recv_stderr(4096).decode("utf-8", "replace")
        return " ".join(line for line in text.splitlines() if "records" not in line)[:300]
    return ""


def _fill(sftp: Any, file: Any, chunks: Iterable[bytes]) -> None:
    """Write, and have it on the disk before the file gets its name, as `dd` does it: else a power
    cut leaves an empty manifest of a snapshot by which changelogs were trimmed."""
    # Without it each piece of 32 KB waits for its answer, 40 ms.
    file.set_pipelined(True)
    for chunk in chunks:
        file.write(chunk)
    if not file.tell():
        return
    try:
        sftp._request(CMD_EXTENDED, "fsync@openssh.com", file.handle)
    except OSError as error:
        # Servers that do not know the request (OpenSSH has it since 6.5) say so in words of theirs.
        transport = sftp.get_channel().get_transport()
        if "OpenSSH" in transport.remote_version and str(error) == "Failure":
            raise


def _exists(sftp: Any, path: str) -> bool:
    try:
        sftp.stat(path)
    except FileNotFoundError:
        return False
    return True


def _stored(key: str, found: Any) -> Stored:
    return Stored(key, found.st_size, int(found.st_mtime) * 1000)
