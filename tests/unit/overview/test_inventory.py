"""What lies in changelogs and in a repository, which is a real one in a directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.ids import Layout, TaskId, TopicPartition
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.overview.inventory import SnapshotRow, StoreRow, Surveyor, weigh
from streamer.overview.seen import Seen
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import create
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.verified import note_verified
from tests.unit.overview.fleets import fleet_of
from tests.unit.snapshot.memory import MemoryBackend
from tests.unit.snapshot.rig import ABOUT, checkpoint, content, repository

Stretches = Mapping[TopicPartition, tuple[int, int]]


def place(partition: int) -> TopicPartition:
    return TopicPartition("shop-totals-changelog", partition)


def row() -> StoreRow:
    return StoreRow(store="totals", topic="shop-totals-changelog")


def test_a_few_partitions_tell_of_all() -> None:
    asked: dict[TopicPartition, tuple[int, int]] = {}

    def sizes(chosen: Stretches) -> dict[TopicPartition, int]:
        asked.update(chosen)
        return {one: 10 * (end - start) for one, (start, end) in chosen.items()}

    store = row()
    weigh([store], {place(number): (50, 150) for number in range(1_200)}, sizes)
    assert len(asked) == 8
    assert (store.partitions, store.records, store.bytes) == (1_200, 120_000, 1_200_000)


def test_what_could_not_be_weighed_is_not_known_and_what_is_empty_is_nothing() -> None:
    store, empty = row(), StoreRow(store="none", topic="shop-none-changelog")
    stretches = {place(0): (0, 10), TopicPartition("shop-none-changelog", 0): (4, 4)}
    weigh([store, empty], stretches, lambda _chosen: {})
    assert (store.bytes, empty.bytes, empty.records) == (-1, 0, 0)


def test_a_changelog_that_is_not_there_is_told() -> None:
    store = row()
    weigh([store], {}, lambda _chosen: {})
    assert store.trouble == "the topic shop-totals-changelog does not exist, or may not be seen"


class Shelves:
    """A repository in memory, and what a surveyor finds in it."""

    def __init__(self, directory: Path) -> None:
        self.backend = MemoryBackend()
        self.place = repository(self.backend)
        self.surveyor = Surveyor()
        self._directory = directory
        self._made = 0

    def make(self, task: TaskId) -> Manifest:
        self._made += 1
        files = {"1.sst": content(2_000, self._made)}
        source = checkpoint(self._directory / str(self._made), files)
        shelf = self.place.shelf("shop", task)
        about = replace(ABOUT, created_ms=self._made)
        return create(self.place, shelf, Checkpoint(source, None), about=about).manifest

    def look(self) -> dict[str, SnapshotRow]:
        self.surveyor._look(self.place, seen())
        return dict(self.surveyor._known)


@pytest.fixture
def shelves(tmp_path: Path) -> Shelves:
    return Shelves(tmp_path)


def seen() -> Seen:
    return fleet_of({"az=1": 1, "az=2": 1}, per_worker=2).seen()


def test_of_each_task_the_newest_snapshot_is_told(shelves: Shelves) -> None:
    first = shelves.make(TaskId(0, 1))
    rows = shelves.look()
    assert rows.keys() == {"0_0", "0_1", "0_2", "0_3"}
    assert rows["0_0"] == SnapshotRow(task="0_0")
    assert (rows["0_1"].count, rows["0_1"].stem) == (1, first.stem)
    assert (rows["0_1"].bytes, rows["0_1"].created_ms) == (first.size, 1)

    second = shelves.make(TaskId(0, 1))
    note_verified(shelves.place.shelf("shop", TaskId(0, 1)), second.stem, "contents")
    again = shelves.look()
    assert (again["0_1"].count, again["0_1"].stem, again["0_1"].level) == (
        2,
        second.stem,
        "contents",
    )
    # What was told before is not changed under those who show it.
    assert (rows["0_1"].count, rows["0_1"].level) == (1, "")


def test_what_was_read_once_is_not_read_again(shelves: Shelves) -> None:
    made = shelves.make(TaskId(0, 1))
    before = shelves.look()["0_1"]
    shelf = shelves.place.shelf("shop", TaskId(0, 1))
    damage(shelves, shelf.snapshot_key(made.stem))
    assert shelves.look()["0_1"] == before


def test_one_that_cannot_be_read_gives_way_to_the_one_before(shelves: Shelves) -> None:
    first, second = shelves.make(TaskId(0, 1)), shelves.make(TaskId(0, 1))
    damage(shelves, shelves.place.shelf("shop", TaskId(0, 1)).snapshot_key(second.stem))
    row = shelves.look()["0_1"]
    assert (row.stem, row.count) == (first.stem, 2)


def test_what_is_not_reached_in_time_is_not_forgotten(shelves: Shelves) -> None:
    shelves.make(TaskId(0, 1))
    shelves.look()
    shelves.surveyor._stopping.set()
    shelves.make(TaskId(0, 2))
    rows = shelves.look()
    assert rows["0_1"].count == 1
    assert "0_2" not in rows or rows["0_2"].count == 0


def test_snapshots_are_those_of_the_layout_that_runs(shelves: Shelves) -> None:
    shelves.make(TaskId(0, 1))
    assert shelves.look()["0_1"].count == 1
    one = SubtopologyLayout(4, Layout(2), {"in": InputLayout(8)})
    later = replace(seen(), layout=ApplicationLayout(Layout(2), {0: one}))
    shelves.surveyor._look(shelves.place, later)
    assert shelves.surveyor._known["0_1"] == SnapshotRow(task="0_1")
    source = checkpoint(shelves._directory / "later", {"1.sst": content(2_000, 9)})
    shelf = shelves.place.shelf("shop", TaskId(0, 1), Layout(2))
    made = create(shelves.place, shelf, Checkpoint(source, None), about=ABOUT).manifest
    shelves.surveyor._look(shelves.place, later)
    assert shelves.surveyor._known["0_1"].stem == made.stem


def damage(shelves: Shelves, key: str) -> None:
    shelves.backend.disk.change(key, b"damaged")
