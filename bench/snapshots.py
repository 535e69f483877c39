"""Snapshots of a state that a worker has left, in repositories of each kind."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rocksdict import Checkpoint as RocksCheckpoint
from rocksdict import Options, Rdict

from streamer.changelog.format import Positions
from streamer.config import Config
from streamer.ids import TaskId
from streamer.kafka.admin import Admin
from streamer.sandbox.object_store import ObjectStore
from streamer.sandbox.ssh_server import SshServer
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import About, create
from streamer.snapshot.manifest import Position
from streamer.snapshot.newest import fetch_newest
from streamer.snapshot.opening import open_repository

_BUCKET = "snapshots"


@dataclass
class Places:
    """The repositories of one run, as settings. Servers start when they are first asked for."""

    root: Path
    stack: ExitStack
    environment: dict[str, str] = field(default_factory=dict)
    _servers: dict[str, Any] = field(default_factory=dict)

    def settings(self, kind: str) -> dict[str, str]:
        """`file`, `s3` or `ssh`, which is the directory of `file` as another host sees it."""
        if kind == "s3":
            return self._s3()
        return self._ssh() if kind == "ssh" else {"snapshot_repository": f"file://{self.directory}"}

    @property
    def directory(self) -> Path:
        return self.root / "snapshots"

    def _s3(self) -> dict[str, str]:
        if "s3" not in self._servers:
            store = self._servers["s3"] = self.stack.enter_context(ObjectStore())
            store.make_bucket(_BUCKET)
            self.environment |= store.environment
        return {
            "snapshot_repository": f"s3://{_BUCKET}/bench",
            "snapshot_s3_endpoint": self._servers["s3"].endpoint,
        }

    def _ssh(self) -> dict[str, str]:
        if "ssh" not in self._servers:
            self._servers["ssh"] = self.stack.enter_context(SshServer())
        server: SshServer = self._servers["ssh"]
        return {
            "snapshot_repository": f"ssh://{server.user}@127.0.0.1:{server.port}{self.directory}",
            "snapshot_ssh_key": str(server.key_file),
            "snapshot_ssh_known_hosts": str(server.known_hosts),
        }

    def config(self, kind: str, application: str) -> Config:
        given: Mapping[str, Any] = self.settings(kind)
        # The usual chain of credentials begins there.
        os.environ.update(self.environment)
        return Config(application_id=application, **given)


def databases(state: Path) -> Iterator[Path]:
    """The tasks' directories below a state directory."""
    for current in sorted(state.rglob("CURRENT")):
        if "." not in current.parent.name:
            yield current.parent


def take(state: Path, topic: str, *, config: Config, bootstrap: str) -> int:
    """A snapshot of every task; returns how many bytes were sent."""
    admin = Admin(Config(application_id="bench", bootstrap_servers=bootstrap))
    topic_id, sent = admin.topic_ids([topic])[topic], 0
    with open_repository(config) as repository:
        for path in databases(state):
            holder = Path(tempfile.mkdtemp(dir=state.parent, prefix="checkpoint-"))
            at, task = _checkpoint(path, holder / "files"), TaskId.parse(path.name)
            about = About(
                created_ms=time.time_ns() // 1_000_000,
                stores={},
                changelog=(Position(topic, task.partition, at, topic_id),),
                input=(),
            )
            shelf = repository.shelf(config.application_id, task)
            sent += create(repository, shelf, Checkpoint(holder / "files"), about=about).sent_bytes
            shutil.rmtree(holder)
    return sent


def fetch_onto(state: Path, *, config: Config) -> tuple[int, int]:
    """The newest snapshots beside a state that may give files: bytes that were moved, and bytes in
    all."""
    moved = size = 0
    with open_repository(config) as repository:
        for path in databases(state):
            fetched = fetch_newest(
                repository,
                repository.shelf(config.application_id, TaskId.parse(path.name)),
                staging=path.with_name(f"{path.name}.restore"),
                check=lambda _manifest: None,
                reuse=[path],
            )
            moved, size = moved + fetched.moved_bytes, size + fetched.manifest.size
    return moved, size


def settle(state: Path) -> None:
    """Have RocksDB merge what it would merge by itself in time: a restore leaves files that wait
    for it, and would be other ones in the second snapshot."""
    for path in databases(state):
        with _opened(path) as families:
            for family in families.values():
                family.compact_range(None, None)


def _checkpoint(path: Path, files: Path) -> int:
    """Make one; returns the position in the changelog."""
    with _opened(path) as families:
        metadata, rows = {}, families["default"].iter()
        rows.seek_to_first()
        while rows.valid():
            if not rows.key().startswith(b"@"):
                metadata[rows.key().decode()] = rows.value()
            rows.next()
        rows.status()
        del rows
        checkpoint = RocksCheckpoint(families["default"])
        checkpoint.create_checkpoint(str(files))
        del checkpoint
    return Positions.decode(metadata).changelogs["stats"]


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, Rdict]]:
    raw = Options(raw_mode=True)
    names = [name for name in Rdict.list_cf(str(path), raw) if name != "default"]
    made = {name: Options(raw_mode=True) for name in names}
    database = Rdict(str(path), raw, column_families=made)
    families = {name: database.get_column_family(name) for name in names}
    try:
        yield {"default": database, **families}
    finally:
        for family in families.values():
            family.close()
        database.close()
