"""Which tasks a restore drill takes: those first that were not restored for the longest."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException

from streamer.ids import FIRST_LAYOUT, Layout, TaskId
from streamer.snapshot.choosing import Chosen
from streamer.snapshot.remote.directory import DirectoryBackend
from streamer.snapshot.repository import Repository
from streamer.snapshot.transfer import Transfers
from streamer_airflow.operators import snapshots
from streamer_airflow.operators.snapshots import longest_unrestored, wanted


@dataclass
class Shelf:
    """As much of one as is looked at."""

    task: TaskId
    since: float
    layout: Layout = FIRST_LAYOUT
    made: str = ""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(DirectoryBackend(tmp_path), transfers=Transfers(parallel=4), beat_ms=0)


def shelves(*since: float) -> list[Any]:
    return [Shelf(TaskId(0, at), each) for at, each in enumerate(since)]


def test_the_longest_comes_first_and_the_same_in_order(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_since_restored", lambda shelf: shelf.since)
    found = shelves(0, 2, float("inf"), 2)
    assert longest_unrestored(repository, found) == ["0_2", "0_1", "0_3", "0_0"]
    # One that has a later layout goes by that.
    found.insert(0, Shelf(TaskId(0, 0), 3, Layout(2)))
    assert longest_unrestored(repository, found) == ["0_2", "0_0", "0_1", "0_3"]


def test_what_an_operation_made_is_on_the_shelf_of_one_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def made(shelf: Any, operation: str) -> Chosen | None:
        return Chosen(shelf, "00000007-made") if shelf.made == operation else None

    monkeypatch.setattr(snapshots, "_made", made)
    former, later = Shelf(TaskId(0, 0), 0), Shelf(TaskId(0, 0), 0, Layout(2), made="snapshot-1")
    other: list[Any] = [former, later]
    assert [one.shelf for one in wanted(other, "snapshot-1")] == [later]
    with pytest.raises(AirflowException, match="has no snapshot of operation snapshot-2"):
        list(wanted(other, "snapshot-2"))


def test_as_many_are_looked_at_together_as_the_repository_takes(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(repository.transfers.parallel)

    def look(shelf: Any) -> float:
        together.wait(240)
        return float(shelf.since)

    monkeypatch.setattr(snapshots, "_since_restored", look)
    assert len(longest_unrestored(repository, shelves(*range(8)))) == 8
