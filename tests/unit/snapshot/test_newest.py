"""Which snapshot a restore takes, when some are no use."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.errors import (
    RepositoryError,
    SnapshotError,
    SnapshotMismatchError,
    SnapshotMissingError,
)
from streamer.ids import TopicPartition
from streamer.snapshot.fetch import Fetched
from streamer.snapshot.manifest import Manifest, Position, check_positions
from streamer.snapshot.newest import fetch_newest
from streamer.snapshot.shelf import VOID
from tests.unit.snapshot.memory import MemoryBackend
from tests.unit.snapshot.rig import ABOUT, checkpoint, content, repository, shelf, snapshot

CHANGELOG = TopicPartition("spend-totals-changelog", 3)


class Restore:
    """Three snapshots, at positions 1000, 2000 and 3000 of the changelog."""

    def __init__(self, tmp_path: Path) -> None:
        self.backend = MemoryBackend()
        self.place = repository(self.backend)
        self.shelf = shelf(self.place)
        self.staging = tmp_path / "staging"
        self.bounds = (0, 5_000)
        self.made: list[Manifest] = []
        for number in range(1, 4):
            files = {"shared.sst": content(9_000, 0), f"{number}.sst": content(1_000, number)}
            at = (Position(CHANGELOG.topic, CHANGELOG.partition, number * 1_000),)
            source = checkpoint(tmp_path / str(number), files)
            about = replace(ABOUT, changelog=at)
            self.made.append(snapshot(self.place, source, about=about).manifest)

    def remove(self, number: int, name: str) -> None:
        manifest = self.made[number - 1]
        file = next(each for each in manifest.files if each.name == name)
        self.backend.disk.objects.pop(self.shelf.object_key(file.object))

    def run(self) -> Fetched:
        def check(manifest: Manifest) -> None:
            check_positions(manifest, {CHANGELOG: self.bounds})

        return fetch_newest(self.place, self.shelf, staging=self.staging, check=check)


@pytest.fixture
def restore(tmp_path: Path) -> Restore:
    return Restore(tmp_path)


def test_the_newest_is_taken(restore: Restore) -> None:
    assert restore.run().manifest == restore.made[2]


def test_one_that_lacks_a_file_gives_way_and_what_was_fetched_is_used(restore: Restore) -> None:
    restore.remove(3, "3.sst")
    fetched = restore.run()
    assert fetched.manifest == restore.made[1]
    assert fetched.moved_bytes < fetched.manifest.size - 9_000 + 100
    assert not (fetched.directory / "3.sst").exists()


def test_one_that_is_ahead_of_the_changelog_gives_way(restore: Restore) -> None:
    restore.bounds = (0, 2_500)
    assert restore.run().manifest == restore.made[1]


def test_one_that_is_being_deleted_is_taken_when_there_is_no_other(restore: Restore) -> None:
    restore.shelf.condemn("snapshot", restore.made[2].stem)
    assert restore.run().manifest == restore.made[1]
    restore.remove(2, "2.sst")
    restore.remove(1, "1.sst")
    # What was fetched would do instead of what is gone.
    shutil.rmtree(restore.staging)
    assert restore.run().manifest == restore.made[2]


def test_one_that_comes_meanwhile_is_tried(restore: Restore, tmp_path: Path) -> None:
    restore.remove(3, "3.sst")
    later: list[Manifest] = []

    def make(call: str, key: str) -> None:
        if call == "read" and "/objects/" in key and not later:
            later.append(restore.made[0])
            source = checkpoint(tmp_path / "later", {"4.sst": content(1_000, 4)})
            later[0] = snapshot(repository(restore.backend), source).manifest

    restore.backend.before = make
    assert restore.run().manifest == later[0]


def test_all_reasons_are_told_when_there_is_none(restore: Restore) -> None:
    restore.bounds = (2_500, 5_000)
    restore.remove(3, "3.sst")
    restore.backend.disk.objects[restore.shelf.snapshot_key(f"{4:010d}-{'a' * 32}")] = (VOID, 0)
    with pytest.raises(SnapshotMissingError) as raised:
        restore.run()
    said = raised.value.message
    assert "stands at 1000 of spend-totals-changelog/3, which begins at 2500" in said
    assert "stands at 2000 of spend-totals-changelog/3, which begins at 2500" in said
    assert "lacks 3.sst" in said
    assert "was given up" in said


def test_trouble_of_another_kind_is_told_at_once(restore: Restore) -> None:
    def refusing(call: str, key: str) -> None:
        if "/objects/" in key:
            raise RepositoryError("AccessDenied")

    restore.backend.before = refusing
    with pytest.raises(RepositoryError, match="AccessDenied"):
        restore.run()
    restore.backend.before = lambda call, key: None
    shutil.rmtree(restore.staging)
    restore.staging.write_text("a file where a directory should be")
    with pytest.raises(SnapshotError, match="cannot be fetched into"):
        restore.run()


def test_a_check_may_refuse_all(restore: Restore) -> None:
    def never(manifest: Manifest) -> None:
        raise SnapshotMismatchError("not this one")

    with pytest.raises(SnapshotMissingError, match="not this one"):
        fetch_newest(restore.place, restore.shelf, staging=restore.staging, check=never)
