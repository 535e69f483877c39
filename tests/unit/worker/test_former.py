"""What a worker has of layouts that were left: told, and removed when an order names it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer import failpoints
from streamer.control.orders import FORMAT, FormerOrder, Order
from streamer.failpoints import InjectedError
from streamer.ids import Layout, TaskId
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.store.directory import WorkerDirectory
from streamer.worker.former import Former, remove_former
from streamer.worker.shadow_marks import Mark, mark, settle_shadows

LAYOUT = ApplicationLayout(
    Layout(3),
    {
        0: SubtopologyLayout(2, Layout(3), {"in": InputLayout(4)}),
        1: SubtopologyLayout(4, Layout(1), {"others": InputLayout(4)}),
    },
)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[WorkerDirectory]:
    with WorkerDirectory.open(tmp_path, "shop", worker_id="w1") as made:
        made.layout = LAYOUT
        for name in ("0_0", "0_1.layout-2", "0_1.layout-3", "0_1.layout-4", "1_0"):
            state(made, name)
        yield made
    failpoints.disarm()


def state(directory: WorkerDirectory, name: str) -> Path:
    path = directory.path / "tasks" / name
    path.mkdir(parents=True)
    (path / "CURRENT").write_bytes(b"x" * 10)
    return path


def order(left: dict[str, tuple[int, ...]]) -> tuple[Order, ...]:
    return (FormerOrder(format=FORMAT, operation="completion-1", left=left),)


def found(directory: WorkerDirectory) -> set[str]:
    return {path.name for path in (directory.path / "tasks").iterdir()}


def obey(former: Former, orders: tuple[Order, ...]) -> bool:
    """Until it has something to tell; False where nothing comes of the order."""
    until = time.monotonic() + 60
    former.turn(orders)
    while former._removal is not None and time.monotonic() < until:
        if former.turn(orders):
            return True
        time.sleep(0.01)
    return False


def test_what_is_of_an_earlier_layout_is_told_with_its_bytes(directory: WorkerDirectory) -> None:
    assert Former(directory).told() == {"0_0": 10, "0_1.layout-2": 10}


def test_what_an_order_names_goes_and_nothing_else(directory: WorkerDirectory) -> None:
    tasks = directory.path / "tasks"
    (tasks / "0_0.digests").touch()
    (tasks / "0_0.restore").mkdir()
    (tasks / "0_0.old-17").mkdir()
    (tasks / "1_0.digests").touch()
    former = Former(directory)
    assert not obey(former, order({"1": (1, 2), "0": (7,)}))
    before = found(directory)
    assert obey(former, order({"0": (1,)}))
    assert found(directory) == before - {"0_0", "0_0.digests", "0_0.restore"}
    assert former.told() == {"0_1.layout-2": 10}


def test_what_was_fetched_for_a_copy_that_was_never_made_goes_too(
    directory: WorkerDirectory,
) -> None:
    """A layout may be left while a snapshot of it is being fetched, or a database made."""
    tasks = directory.path / "tasks"
    for name in ("0_1.restore/files", "0_1.layout-3.restore/files", "1_1.restore/files", "0_2"):
        (tasks / name).mkdir(parents=True)
    (tasks / "0_1.restore" / "files" / "7.sst").write_bytes(b"x" * 30)
    former = Former(directory)
    told = {"0_0": 10, "0_1": 30, "0_1.layout-2": 10, "0_2": 0}
    assert former.told() == told
    before = found(directory)
    assert obey(former, order({"0": (1, 3), "1": (1,)}))
    assert found(directory) == before - {"0_0", "0_1.restore", "0_2"}


def test_what_runs_here_stays_whatever_an_order_says(directory: WorkerDirectory) -> None:
    before = found(directory)
    former = Former(directory)
    assert obey(former, order({"0": (1, 2, 3, 4), "1": (1,)}))
    assert found(directory) == before - {"0_0", "0_1.layout-2"}
    assert former.told() == {}


def test_a_worker_of_the_layout_that_was_left_removes_nothing(directory: WorkerDirectory) -> None:
    directory.layout = ApplicationLayout()
    former = Former(directory)
    assert former.told() == {}
    assert not obey(former, order({"0": (1, 2)}))
    assert "0_0" in found(directory)


def test_a_copy_for_a_layout_that_never_came_is_not_counted(directory: WorkerDirectory) -> None:
    path = directory.path / "tasks" / "0_0.layout-2"
    mark(Mark(path, TaskId(0, 0), Layout(2), "fold-1"))
    state(directory, path.name)
    former = Former(directory)
    assert path.name not in former.told()
    obey(former, order({"0": (2,)}))
    assert path.exists()


@pytest.mark.parametrize("point", ["former.before_removed", "former.after_renamed"])
def test_a_removal_that_is_cut_leaves_no_half_of_a_database(
    directory: WorkerDirectory, point: str
) -> None:
    with failpoints.armed(point, "error"), pytest.raises(InjectedError):
        remove_former(directory.path / "tasks" / "0_0")
    assert ("0_0" in found(directory)) == (point == "former.before_removed")
    # As a start does, and then goes on.
    settle_shadows(directory.path / "tasks", None)
    obey(Former(directory), order({"0": (1,)}))
    assert not {name for name in found(directory) if name.startswith("0_0")}


def test_a_disk_that_refuses_is_told_and_tried_again(
    directory: WorkerDirectory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(13, "Permission denied")

    former, named = Former(directory), order({"0": (1,)})
    with failpoints.armed("former.before_removed", refuse), caplog.at_level(logging.ERROR):
        assert not obey(former, named)
    assert "cannot be removed: Permission denied" in caplog.text
    assert former.told() == {"0_0": 10, "0_1.layout-2": 10}
    assert not obey(former, named), "not at once"
    monkeypatch.setattr(former, "_again_s", 0.0)
    assert obey(former, named)
