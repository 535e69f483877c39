"""Reports tell what became of orders, and are told again when that changes."""

from __future__ import annotations

from typing import Any

from streamer.cluster.seat import Shadowed
from streamer.control.messages import ChoreReport, StandbyReport, TaskReport
from streamer.ids import TaskId
from streamer.worker.chores import Chores

ONE, TWO = TaskId(0, 1), TaskId(0, 2)


class Member:
    def __init__(self) -> None:
        self.said: list[tuple[int, dict[TaskId, TaskReport], dict[TaskId, StandbyReport]]] = []
        self.rejoined = 0
        self.paused = "", ""
        self.shadows: list[Shadowed] = []
        self.former: list[dict[str, int]] = []

    def report(
        self, *said: Any, pause: tuple[str, str], shadows: Shadowed, former: dict[str, int]
    ) -> None:
        self.paused = pause
        self.shadows.append(shadows)
        self.former.append(former)
        self.said.append(said)  # type: ignore[arg-type]

    def rejoin(self) -> None:
        self.rejoined += 1

    def desired(self) -> None:
        return None

    def failure(self) -> None:
        return None


def test_a_report_is_told_again_with_the_chores_as_they_are_by_then() -> None:
    member, known = Member(), dict[TaskId, ChoreReport]()
    chores = Chores(member, lambda: known)
    chores.again()
    assert member.said == [], "nothing was said yet"
    running, copies = TaskReport(state="running", bytes=5), {TWO: StandbyReport()}
    chores.report(3, {ONE: running}, copies, pause=("now", "before"))
    known[ONE] = ChoreReport(operation="op", state="working")
    known[TWO] = ChoreReport(operation="op", state="waiting")
    chores.again()
    assert [said[0] for said in member.said] == [3, 3]
    assert member.paused == ("now", "before")
    assert [said[1][ONE].chore for said in member.said] == [None, known[ONE]]
    assert member.said[1][1][ONE].bytes == 5
    assert list(member.said[1][1]) == [ONE], "a task that is not owned is not reported"
    assert member.said[1][2] == copies


def test_after_a_fence_nothing_of_before_is_said_again() -> None:
    member = Member()
    chores = Chores(member, dict)
    chores.report(3, {ONE: TaskReport(state="running")}, {})
    chores.rejoin()
    chores.again()
    assert (len(member.said), member.rejoined) == (1, 1)


def test_copies_for_the_next_layout_go_with_every_report() -> None:
    member, kept = Member(), dict[TaskId, StandbyReport]()
    chores = Chores(member, dict, lambda: Shadowed("fold-1", {**kept}))
    chores.report(3, {}, {})
    kept[TWO] = StandbyReport(lag_records=7)
    chores.again()
    assert member.shadows == [Shadowed("fold-1"), Shadowed("fold-1", {TWO: kept[TWO]})]


def test_what_is_left_of_former_layouts_goes_with_every_report() -> None:
    member, left = Member(), {"0_1": 5}
    chores = Chores(member, dict, former=lambda: {**left})
    chores.report(3, {}, {})
    left.clear()
    chores.again()
    assert member.former == [{"0_1": 5}, {}]
