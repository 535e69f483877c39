"""Snapshots of an application's databases, made and verified with the library, and brought back."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rocksdict import AccessType, Options, Rdict

from streamer.changelog.format import Positions
from streamer.config import Config
from streamer.ids import TaskId, TopicPartition, changelog_topic
from streamer.snapshot.adopt import adopt, staging_of
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import About, create
from streamer.snapshot.fetch import fetch
from streamer.snapshot.manifest import Manifest, Position, check_positions
from streamer.snapshot.newest import fetch_newest
from streamer.snapshot.opening import open_repository
from streamer.snapshot.repository import Repository
from streamer.snapshot.verified import note_verified
from streamer.snapshot.verify import verify
from streamer.testing.disk import copy_at_rest
from tests.broker.workers import Application

__all__ = ["Snapshots", "fingerprint", "positions_of"]


class Snapshots:
    """The repository of one application of a scenario."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.address = f"file://{application.directory / 'repository'}"
        self.config = Config(
            application_id=application.name,
            bootstrap_servers=application.kafka.bootstrap_servers,
            snapshot_repository=self.address,
        )

    @property
    def options(self) -> tuple[str, ...]:
        """For the command line."""
        return (
            *("--app", self._application.name),
            *("--bootstrap-servers", self._application.kafka.bootstrap_servers),
            *("--set", f"snapshot_repository={self.address}"),
        )

    @contextmanager
    def opened(self) -> Iterator[Repository]:
        repository = open_repository(self.config)
        try:
            yield repository
        finally:
            repository.close()

    def database(self, task: TaskId, host: str = "a") -> Path:
        slot = self._application.state_dir(host) / self._application.name / "worker-0"
        return slot / "tasks" / str(task)

    def make(self, task: TaskId, host: str = "a", *, verified: bool = True) -> Manifest:
        """A snapshot of a database to which nobody writes at this moment, open or not."""
        with tempfile.TemporaryDirectory(dir=self._application.directory) as directory:
            copy = Path(directory) / "files"
            copy_at_rest(self.database(task, host), copy)
            shutil.rmtree(copy / "ingest", ignore_errors=True)
            about = About(
                created_ms=time.time_ns() // 1_000_000,
                stores={store: "any" for store in positions_of(copy)},
                changelog=tuple(
                    Position(changelog_topic(self._application.name, store), task.partition, at)
                    for store, at in positions_of(copy).items()
                ),
                input=(),
            )
            with self.opened() as repository:
                shelf = repository.shelf(self._application.name, task)
                made = create(repository, shelf, Checkpoint(copy), about=about).manifest
                if verified:
                    assert verify(repository, shelf, made.stem).is_whole
                    note_verified(shelf, made.stem, "contents")
        return made

    def bring_back(self, task: TaskId, host: str) -> Manifest:
        """Put the newest snapshot that the changelogs reach back to in the place of a database."""
        admin = self._application.kafka.requests
        places = [TopicPartition(each, task.partition) for each in self._topics(task)]
        starts, ends = admin.starts(places), admin.ends(places, "read_uncommitted")
        bounds = {place: (starts[place], ends[place]) for place in places}
        target = self.database(task, host)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.opened() as repository:
            fetched = fetch_newest(
                repository,
                repository.shelf(self._application.name, task),
                staging=staging_of(target),
                check=lambda manifest: check_positions(manifest, bounds),
            )
        adopt(fetched.directory, target, now_ms=time.time_ns() // 1_000_000)
        return fetched.manifest

    def _topics(self, task: TaskId) -> list[str]:
        with self.opened() as repository:
            shelf = repository.shelf(self._application.name, task)
            return [each.topic for each in shelf.manifests()[-1].changelog]

    def fetch(self, task: TaskId, stem: str, target: Path) -> Path:
        with self.opened() as repository:
            shelf = repository.shelf(self._application.name, task)
            return fetch(repository, shelf, stem, staging=target).directory


@contextmanager
def _read_only(directory: Path) -> Iterator[tuple[Rdict, dict[str, Rdict]]]:
    names = Rdict.list_cf(str(directory), Options(raw_mode=True))
    others = {name: Options(raw_mode=True) for name in names if name != "default"}
    opened = Rdict(
        str(directory),
        Options(raw_mode=True),
        column_families=others,
        access_type=AccessType.read_only(False),
    )
    families = {name: opened.get_column_family(name) for name in others}
    try:
        yield opened, families
    finally:
        for family in families.values():
            family.close()
        families.clear()
        opened.close()


def positions_of(directory: Path) -> dict[str, int]:
    """Where the stores of a database that nobody has open stand in their changelogs."""
    with _read_only(directory) as (default, _families):
        metadata = {bytes(key).decode(): bytes(value) for key, value in default.items()}
    known = {key: value for key, value in metadata.items() if key.startswith("changelog/")}
    return dict(Positions.decode(known).changelogs)


def fingerprint(directory: Path) -> dict[str, tuple[int, str]]:
    """The number of rows of each store, and a hash of all of them in order."""
    found = {}
    with _read_only(directory) as (_default, families):
        for name, family in families.items():
            if not name.startswith("store."):
                continue
            digest, count = hashlib.sha256(), 0
            rows = family.iter()
            rows.seek_to_first()
            while rows.valid():
                digest.update(bytes(rows.key()) + b"\0" + bytes(rows.value()) + b"\1")
                count += 1
                rows.next()
            rows.status()
            del rows
            found[name] = (count, digest.hexdigest())
    return found
