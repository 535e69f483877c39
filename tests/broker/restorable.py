"""For scenarios with snapshots: made of the state that a stopped worker has left, and compared."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rocksdict import Checkpoint as RocksCheckpoint
from rocksdict import Options, Rdict

from streamer.changelog.format import Positions
from streamer.config import Config
from streamer.ids import TaskId, TopicPartition
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import About, Created, create
from streamer.snapshot.manifest import Position
from streamer.snapshot.opening import open_repository
from streamer.snapshot.repository import Repository
from tests.broker.workers import Application

# A restore from the changelog is told to be so slow that a snapshot is always sooner.
EAGER = {"bootstrap_gain_ms": 0, "bootstrap_records_per_second": 1}


def tasks_of(made: Application, host: str = "a") -> Path:
    """The directory of a worker's tasks."""
    return made.state_dir(host) / made.name / "worker-0" / "tasks"


@contextmanager
def opened(path: Path) -> Iterator[dict[str, Rdict]]:
    """All families of a database that nobody has open."""
    raw = Options(raw_mode=True)
    names = [name for name in Rdict.list_cf(str(path), raw) if name != "default"]
    database = Rdict(
        str(path), raw, column_families={name: Options(raw_mode=True) for name in names}
    )
    families = {name: database.get_column_family(name) for name in names}
    try:
        yield {"default": database, **families}
    finally:
        for family in families.values():
            family.close()
        database.close()


def rows_of(family: Rdict) -> dict[bytes, bytes]:
    found = {}
    rows = family.iter()
    rows.seek_to_first()
    while rows.valid():
        found[rows.key()] = rows.value()
        rows.next()
    rows.status()
    return found


def contents(made: Application, host: str = "a") -> dict[str, dict[str, dict[bytes, bytes]]]:
    """The rows of all stores by task, metadata left out."""
    found = {}
    for path in sorted(tasks_of(made, host).glob("*_*")):
        if "." not in path.name:
            with opened(path) as families:
                found[path.name] = {
                    name: rows_of(family)
                    for name, family in families.items()
                    if name.startswith("store.")
                }
    return found


def stored(path: Path) -> Positions:
    """The positions of a database."""
    with opened(path) as families:
        metadata = {
            key.decode(): value
            for key, value in rows_of(families["default"]).items()
            if not key.startswith(b"@")
        }
    return Positions.decode(metadata)


def repository_of(made: Application, address: str, **settings: object) -> Repository:
    given = {"bootstrap_servers": made.kafka.bootstrap_servers, **settings}
    return open_repository(Config(application_id=made.name, **given), address)  # type: ignore[arg-type]


def take(
    made: Application, address: str, host: str = "a", *, created_ms: int = 0, **settings: object
) -> dict[str, Created]:
    """A snapshot of each task of a worker that has stopped."""
    found = {}
    with repository_of(made, address, **settings) as repository:
        for path in sorted(tasks_of(made, host).glob("*_*")):
            if "." not in path.name:
                found[path.name] = _taken(made, repository, path, created_ms)
    return found


def _taken(made: Application, repository: Repository, path: Path, created_ms: int) -> Created:
    positions, task = stored(path), TaskId.parse(path.name)
    topics = {store: made.changelog(store) for store in positions.changelogs}
    ids = made.kafka.requests.topic_ids(list(topics.values()))
    holder = Path(tempfile.mkdtemp(dir=path.parent.parent, prefix="checkpoint-"))
    try:
        with opened(path) as families:
            checkpoint = RocksCheckpoint(families["default"])
            checkpoint.create_checkpoint(str(holder / "files"))
            del checkpoint
        about = About(
            created_ms=created_ms or time.time_ns() // 1_000_000,
            stores={},
            changelog=tuple(
                Position(topics[store], task.partition, at, ids[topics[store]])
                for store, at in positions.changelogs.items()
            ),
            input=(),
        )
        shelf = repository.shelf(made.name, task)
        return create(repository, shelf, Checkpoint(holder / "files"), about=about)
    finally:
        shutil.rmtree(holder)


def trim(made: Application, taken: dict[str, Created]) -> None:
    """Delete from the changelogs what comes before these snapshots."""
    positions = {
        TopicPartition(each.topic, each.partition): each.position
        for one in taken.values()
        for each in one.manifest.changelog
    }
    made.kafka.requests.delete_before(positions)
