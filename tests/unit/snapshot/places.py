"""The places that every backend test runs against: a directory, a real S3 server, a real sshd.

A server is started once for the test session, and a place is a directory, bucket prefix or path of
the test's own. Where a server cannot be had, the tests say why they were not run.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from streamer.sandbox import object_store, ssh_server
from streamer.sandbox.object_store import ObjectStore
from streamer.sandbox.ssh_server import SshServer
from streamer.snapshot.remote.api import Backend
from streamer.snapshot.remote.directory import DirectoryBackend
from streamer.snapshot.remote.s3 import S3Access, S3Backend
from streamer.snapshot.remote.ssh import SshAccess, SshBackend

KINDS = ("file", "s3", "ssh", "sftp")
BUCKET = "snapshots"
# Building the S3 server takes minutes, once per machine.
BUILD_S = 1_600


@dataclass
class Place:
    """One place, and the file behind a key of it: all four keep files."""

    kind: str
    root: Path
    make: Callable[[], Backend]
    opened: list[Backend] = field(default_factory=list)

    def open(self) -> Backend:
        """A client of its own, as another process would have."""
        backend = self.make()
        self.opened.append(backend)
        return backend

    def file(self, key: str) -> Path:
        return self.root / key

    def close(self) -> None:
        for backend in self.opened:
            backend.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[ObjectStore]:
    if reason := object_store.missing():
        pytest.skip(f"{reason}, so nothing was tried against a real S3 server")
    with ObjectStore() as store:
        store.make_bucket(BUCKET)
        yield store


@pytest.fixture(scope="session")
def ssh_host() -> Iterator[SshServer]:
    yield from _sshd(sftp_only=False)


@pytest.fixture(scope="session")
def sftp_host() -> Iterator[SshServer]:
    yield from _sshd(sftp_only=True)


def _sshd(*, sftp_only: bool) -> Iterator[SshServer]:
    if reason := ssh_server.missing():
        pytest.skip(f"{reason}, so nothing was tried over SSH")
    with SshServer(sftp_only=sftp_only) as server:
        yield server


def s3_access(store: ObjectStore) -> S3Access:
    os.environ.update(store.environment)
    return S3Access(endpoint=store.endpoint, region="us-east-1")


def ssh_access(server: SshServer) -> SshAccess:
    return SshAccess(
        host="127.0.0.1",
        port=server.port,
        user=server.user,
        key_file=server.key_file,
        known_hosts=server.known_hosts,
    )


def place_of(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """A new place of this kind; skips the test where it cannot be had."""
    root = tmp_path / "repository"
    if kind == "file":
        return Place(kind, root, lambda: DirectoryBackend(root))
    if kind == "s3":
        store: ObjectStore = request.getfixturevalue("s3_server")
        prefix = f"test-{secrets.token_hex(6)}/"
        access = s3_access(store)
        return Place(kind, store.data / BUCKET / prefix, lambda: S3Backend(BUCKET, prefix, access))
    server: SshServer = request.getfixturevalue(f"{kind}_host")
    return Place(kind, root, lambda: SshBackend(str(root), ssh_access(server)))
