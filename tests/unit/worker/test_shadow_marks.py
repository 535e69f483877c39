"""What tells a copy for the next layout from the state of a task, through crashes anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer import failpoints
from streamer.control.layouts import LayoutRecord, layout_record
from streamer.errors import StateDirectoryError
from streamer.failpoints import InjectedError
from streamer.ids import Layout, TaskId
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.worker.shadow_marks import Mark, make_room, mark, marks, remove, settle_shadows

TASK = TaskId(0, 1)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return tmp_path / "tasks"


def shadow(tasks: Path, layout: int = 2, operation: str = "fold-1") -> Mark:
    """A copy that is there, with its mark."""
    one = Mark(tasks / f"{TASK}.layout-{layout}", TASK, Layout(layout), operation)
    mark(one)
    one.path.mkdir()
    (one.path / "CURRENT").touch()
    return one


def recorded(number: int, operation: str) -> LayoutRecord:
    part = SubtopologyLayout(2, Layout(number), {"in": InputLayout(4)})
    layout = ApplicationLayout(Layout(number), {0: part})
    return layout_record("shop", layout, operation=operation)


def found(tasks: Path) -> set[str]:
    return {path.name for path in tasks.iterdir()}


def test_a_mark_is_read_as_it_was_made_and_stays_that_of_the_first(tasks: Path) -> None:
    one = shadow(tasks)
    assert marks(tasks) == [one]
    mark(one)
    assert marks(tasks) == [one]
    (tasks / "0_1.layout-2.shadow").write_bytes(b"{")
    assert [each.operation for each in marks(tasks)] == [""]


def test_the_state_of_a_task_is_never_made_a_copy(tasks: Path) -> None:
    state = tasks / "0_1.layout-2"
    state.mkdir(parents=True)
    with pytest.raises(StateDirectoryError, match="a state is there that is no copy"):
        mark(Mark(state, TASK, Layout(2), "fold-1"))
    assert found(tasks) == {"0_1.layout-2"}


def test_what_another_operation_left_makes_room(tasks: Path) -> None:
    one = shadow(tasks)
    make_room(one)
    assert marks(tasks) == [one]
    make_room(Mark(one.path, TASK, one.layout, "fold-2"))
    assert found(tasks) == set()


@pytest.mark.parametrize("point", ["shadow.before_removed", "shadow.after_renamed"])
def test_a_removal_that_is_cut_leaves_no_half_of_a_database_in_its_place(
    tasks: Path, point: str
) -> None:
    one = shadow(tasks)
    failpoints.arm(f"{point}=error")
    with pytest.raises(InjectedError):
        remove(one.path)
    assert not one.path.exists() or (one.path / "CURRENT").exists()
    # The mark is there still, so whoever comes next does it again.
    assert [each.path for each in marks(tasks)] == [one.path]
    remove(one.path)
    assert found(tasks) == set()
    remove(one.path)


def test_what_a_crash_has_left_of_a_removal_goes_with_the_next_start(tasks: Path) -> None:
    one = shadow(tasks)
    failpoints.arm("shadow.after_renamed=error")
    with pytest.raises(InjectedError):
        remove(one.path)
    # The order stands again, so it is begun anew, and becomes the state.
    one.path.mkdir()
    settle_shadows(tasks, recorded(2, "fold-1"))
    assert found(tasks) == {"0_1.layout-2"}


def test_the_copy_of_the_recorded_layout_is_the_state_of_its_task(tasks: Path) -> None:
    shadow(tasks)
    failpoints.arm("shadow.before_adopted=error")
    with pytest.raises(InjectedError):
        settle_shadows(tasks, recorded(2, "fold-1"))
    settle_shadows(tasks, recorded(2, "fold-1"))
    assert found(tasks) == {"0_1.layout-2"}
    settle_shadows(tasks, recorded(3, "fold-2"))
    assert found(tasks) == {"0_1.layout-2"}


@pytest.mark.parametrize(
    ("number", "operation"),
    [(2, "fold-2"), (2, ""), (3, "fold-1"), (3, "fold-2")],
    ids=["by another", "by nobody", "a later one", "a later one by another"],
)
def test_a_copy_that_cannot_be_told_to_be_the_state_is_removed(
    tasks: Path, number: int, operation: str
) -> None:
    shadow(tasks)
    settle_shadows(tasks, recorded(number, operation))
    assert found(tasks) == set()


def test_a_copy_of_a_layout_to_come_is_left_for_its_order_to_decide(tasks: Path) -> None:
    shadow(tasks, layout=3)
    settle_shadows(tasks, recorded(2, "fold-1"))
    settle_shadows(tasks, None)
    assert found(tasks) == {"0_1.layout-3", "0_1.layout-3.shadow"}


def test_a_mark_that_cannot_be_read_is_nobodys(tasks: Path) -> None:
    shadow(tasks)
    (tasks / "0_1.layout-2.shadow").write_bytes(b"{")
    settle_shadows(tasks, recorded(2, ""))
    assert found(tasks) == set()
