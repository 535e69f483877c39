"""One SSH connection: strict host keys, keys only, no agent, and a new one after it broke.

A host whose key is new or changed is refused with the command that adds it. Nothing of the user's
own configuration is read: what is set for Streamer is all that counts.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Any

from fabric import Config as FabricConfig
from fabric import Connection
from paramiko import (
    AuthenticationException,
    BadHostKeyException,
    ChannelException,
    MissingHostKeyPolicy,
    PasswordRequiredException,
    SSHConfig,
    SSHException,
    Transport,
)
from paramiko.sftp import SFTPError
from paramiko.ssh_exception import NoValidConnectionsError

from streamer.errors import RepositoryError, RepositoryUnavailableError
from streamer.snapshot.remote.ssh.ahead import ReadAhead
from streamer.snapshot.remote.ssh.inflow import Inflow
from streamer.snapshot.remote.ssh.words import known_hosts_name, refused

__all__ = ["BROKEN", "SILENCE_S", "Link", "SshAccess"]

# Raised where the connection is at fault, or what comes over it makes no sense any more: an answer
# that was not read to its end is the begin of the next one.
BROKEN = (EOFError, TimeoutError, SSHException, SFTPError, ConnectionError)

CONNECT_S = 10
SILENCE_S = 60
KEEPALIVE_S = 15
# While keys are changed, the library's thread waits for itself wherever a channel is closed at that
# moment, until its time is over. So keys serve for as long as OpenSSH lets them by default, 2^32
# blocks (RFC 4344, 3.2) and not half a GB, and the time is shorter than the library's 30 s: then
# the connection is given up, and what was under way goes on with a new one.
REKEY_BYTES = 64 << 30
REKEY_S = 10.0
# sshd allows 10 sessions on a connection (MaxSessions); one is for listing and renaming.
CHANNELS_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAccess:
    """Who logs in where, with what, and which hosts are known."""

    host: str
    port: int = 22
    user: str = ""
    key_file: Path
    known_hosts: Path
    channels: int = 4


class UnknownHostError(Exception):
    def __init__(self, key: Any) -> None:
        super().__init__(key.get_name(), key.fingerprint)


class _Refuse(MissingHostKeyPolicy):  # type: ignore[misc]
    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        raise UnknownHostError(key)


class Link:
    """A connection that is made at the first use, and again when it has broken."""

    def __init__(self, access: SshAccess) -> None:
        self.access = access
        self.where = known_hosts_name(access.host, access.port)
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._sftp: Any = None
        self._bulk = threading.BoundedSemaphore(min(access.channels, CHANNELS_MAX))

    @contextmanager
    def files(self) -> Iterator[Any]:
        """The sftp client for short requests, one at a time."""
        with self._lock:
            if self._sftp is None or self._sftp.get_channel().closed or not self._is_alive():
                self._sftp = self.sftp()
            try:
                yield self._sftp
            except BROKEN:
                # Whoever waits for it now must not be given the rest of this answer.
                self._sftp = None
                raise

    def sftp(self) -> Any:
        """A client of its own, for one transfer; to be closed."""
        client = self._transport().open_sftp_client()
        client.get_channel().settimeout(SILENCE_S)
        return client

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """A place among the transfers that one connection carries at a time."""
        with self._bulk:
            yield

    @contextmanager
    def command(self, words: Sequence[str]) -> Iterator[Any]:
        """A channel on which the host runs one command. The words are quoted, each of them."""
        channel = self._transport().open_session(timeout=CONNECT_S)
        try:
            channel.settimeout(SILENCE_S)
            # Nothing comes before the command runs.
            channel.in_buffer = Inflow()
            channel.exec_command(join(words))
            yield channel
        finally:
            channel.close()

    def failure(self, error: Exception, what: str) -> RepositoryError:
        """What an error of paramiko means. Where the connection is at fault, it is given up."""
        said = f"ssh://{self.where}: {what}: {str(error) or type(error).__name__}"
        if isinstance(error, BROKEN) or not self._is_alive():
            if not isinstance(error, ChannelException):
                self.drop()
            return RepositoryUnavailableError(said)
        return refused(error, said)

    def drop(self) -> None:
        """Close the connection; the next request makes a new one."""
        with self._lock:
            connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # whatever is wrong with it, it is not used any more
                connection.close()

    def _is_alive(self) -> bool:
        connection = self._connection
        transport = connection.client.get_transport() if connection is not None else None
        return transport is not None and bool(transport.is_active())

    def _transport(self) -> Any:
        with self._lock:
            if self._connection is None or not self._is_alive():
                self.drop()
                self._connection = self._connect()
            return self._connection.client.get_transport()

    def _connect(self) -> Connection:
        access = self.access
        _check_key_file(access.key_file)
        connection = Connection(
            access.host,
            user=access.user or None,
            port=access.port,
            connect_timeout=CONNECT_S,
            # Lazy: neither fabric's own files nor those of ssh are read.
            config=FabricConfig(ssh_config=SSHConfig(), lazy=True),
            forward_agent=False,
            connect_kwargs={
                "key_filename": str(access.key_file),
                "look_for_keys": False,
                "allow_agent": False,
                "banner_timeout": CONNECT_S,
                "auth_timeout": CONNECT_S,
                "channel_timeout": CONNECT_S,
                "transport_factory": _transport,
            },
        )
        client = connection.client
        # fabric accepts any host by default.
        client.set_missing_host_key_policy(_Refuse())
        try:
            if access.known_hosts.exists():
                client.load_system_host_keys(str(access.known_hosts))
            connection.open()
        except Exception as error:
            with suppress(Exception):
                client.close()
            raise self._not_connected(error) from error
        client.get_transport().set_keepalive(KEEPALIVE_S)
        return connection

    def _not_connected(self, error: Exception) -> Exception:
        access, where = self.access, f"ssh://{self.where}"
        if isinstance(error, UnknownHostError):
            kind, fingerprint = error.args
            return RepositoryError(
                f"{where}: the host is not in {access.known_hosts}; it shows the {kind} key"
                f" {fingerprint}",
                hint=f"compare the key with the host's own, then: {self._scan()}",
            )
        if isinstance(error, BadHostKeyException):
            return RepositoryError(
                f"{where}: the host's key is {error.key.fingerprint}, and {access.known_hosts} has"
                f" {error.expected_key.fingerprint}: the host was changed, or it is another one",
                hint="find out which. If the new key is right: ssh-keygen -R"
                f" '{self.where}' -f {access.known_hosts} && {self._scan()}",
            )
        if isinstance(error, PasswordRequiredException):
            return RepositoryError(
                f"{where}: the key {access.key_file} has a passphrase, which nobody can be asked",
                hint="make a key without one for Streamer alone, and restrict what it may do",
            )
        if isinstance(error, AuthenticationException):
            user = access.user or "this user"
            return RepositoryError(
                f"{where}: {user} is not let in with {access.key_file}: {error}",
                hint="add the key's .pub to authorized_keys there; passwords are never tried",
            )
        is_own = isinstance(error, PermissionError | IsADirectoryError)
        if isinstance(error, NoValidConnectionsError | EOFError | OSError) and not is_own:
            return RepositoryUnavailableError(f"{where}: no connection: {error}")
        if isinstance(error, SSHException) and "private key" not in str(error):
            return RepositoryUnavailableError(f"{where}: no connection: {error}")
        return RepositoryError(
            f"{where}: no connection: {error}",
            hint=f"check {access.key_file} and {access.known_hosts}",
        )

    def _scan(self) -> str:
        access = self.access
        return f"ssh-keyscan -p {access.port} {access.host} >> {access.known_hosts}"


def _transport(socket: Any, *given: Any, **named: Any) -> Transport:
    """One whose first choices encrypt and protect in one pass: the library's take two, which costs
    a tenth of a transfer's time (measured)."""
    transport = Transport(ReadAhead(socket), *given, **named)
    transport.packetizer.REKEY_BYTES = REKEY_BYTES
    transport.clear_to_send_timeout = REKEY_S
    security = transport.get_security_options()
    security.ciphers = sorted(security.ciphers, key=lambda name: "gcm" not in name)
    return transport


def _check_key_file(path: Path) -> None:
    """A key that others can read is not one; ssh itself refuses it, too."""
    try:
        found = path.stat()
    except OSError as error:
        raise RepositoryError(
            f"the SSH key {path} cannot be read: {error.strerror}",
            hint="set snapshot_ssh_key to a private key; ssh-keygen -t ed25519 makes one",
        ) from error
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or not os.access(path, os.R_OK):
        raise RepositoryError(
            f"the SSH key {path} must be a file that only its owner can read",
            hint=f"chmod 600 {path}",
        )
