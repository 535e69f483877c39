"""A snapshot restored for a look: each row is read, and positions are those of the manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamer.changelog.format import Positions
from streamer.errors import SnapshotDamagedError
from streamer.ids import TaskId, TopicPartition
from streamer.restore.rehearsal import rehearse
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import About, create
from streamer.snapshot.manifest import Position
from streamer.snapshot.remote.directory import DirectoryBackend
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Transfers
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store

TASK = TaskId(0, 3)
IN = TopicPartition("in", 3)
ABOUT = About(
    created_ms=1,
    stores={"totals": "key_value", "other": "key_value"},
    changelog=(Position("app-totals-changelog", 3, 10), Position("app-other-changelog", 3, 4)),
    input=(Position("in", 3, 7),),
)


@pytest.fixture
def place(tmp_path: Path) -> Repository:
    backend = DirectoryBackend(tmp_path / "repository")
    return Repository(backend, transfers=Transfers(parallel=1), beat_ms=0)


def made(place: Repository, tmp_path: Path, about: About, **given: Any) -> tuple[Shelf, str]:
    """A snapshot of a database with 100 rows and some positions."""
    stored = {"changelogs": {"totals": 10, "other": 4}, "inputs": {IN: 7}, **given}
    specs = [Store("totals", str, int).spec(), Store("other", str, int).spec()]
    pool = MemoryPool(8 << 20, 8 << 20)
    database = TaskDatabase.open(tmp_path / "0_3", specs, pool=pool, options={})
    rows = [(f"key-{number:04d}".encode(), b"x" * 50) for number in range(100)]
    database.write({"totals": rows}, Positions(**stored).encode())
    database.checkpoint(tmp_path / "checkpoint")
    database.close()
    shelf = place.shelf("app", TASK)
    source = Checkpoint(tmp_path / "checkpoint")
    return shelf, create(place, shelf, source, about=about).manifest.stem


def test_each_row_is_read_and_nothing_is_left(place: Repository, tmp_path: Path) -> None:
    shelf, stem = made(place, tmp_path, ABOUT)
    look = tmp_path / "look"
    found = rehearse(place, shelf, stem, directory=look)
    assert found.rows == {"totals": 100, "other": 0}
    assert found.moved_bytes == found.manifest.size
    assert list(look.iterdir()) == []


@pytest.mark.parametrize(
    ("about", "given", "said"),
    [
        (ABOUT, {"changelogs": {"totals": 11, "other": 4}}, "store totals stands at 10"),
        (ABOUT, {"inputs": {IN: 8}}, "input in/3 stands at 7, and the database in it at 8"),
        (
            replace(ABOUT, stores={**ABOUT.stores, "third": "key_value"}),
            {},
            "store third is there, and the database in it is not in it",
        ),
    ],
)
def test_positions_and_stores_are_those_of_the_manifest(
    place: Repository, tmp_path: Path, about: About, given: dict[str, Any], said: str
) -> None:
    shelf, stem = made(place, tmp_path, about, **given)
    with pytest.raises(SnapshotDamagedError, match=said):
        rehearse(place, shelf, stem, directory=tmp_path / "look")


def test_an_input_that_a_restore_has_passed_is_taken_from_the_manifest(
    place: Repository, tmp_path: Path
) -> None:
    shelf, stem = made(place, tmp_path, ABOUT, inputs={IN: -1})
    assert rehearse(place, shelf, stem, directory=tmp_path / "look").rows["totals"] == 100


def test_bytes_that_were_damaged_before_they_were_sent_are_found(
    place: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TaskDatabase.checkpoint

    def damaged(self: TaskDatabase, target: Path) -> None:
        real(self, target)
        for path in target.glob("*.sst"):
            content = bytearray(path.read_bytes())
            content[20] ^= 0xFF
            path.unlink()
            path.write_bytes(content)

    monkeypatch.setattr(TaskDatabase, "checkpoint", damaged)
    shelf, stem = made(place, tmp_path, ABOUT)
    with pytest.raises(SnapshotDamagedError, match="has been fetched, and cannot be read"):
        rehearse(place, shelf, stem, directory=tmp_path / "look")
    assert list((tmp_path / "look").iterdir()) == []
