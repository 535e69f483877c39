"""The controller's decisions, one situation at a time: what must be done, and what must wait."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from streamer.cluster.attendance import COMING_MS, SETTLE_MS, SETTLE_MS_MAX
from streamer.cluster.core import FENCE_RETRY_MS, FORGET_MS, TIDY_MS, step
from streamer.cluster.events import (
    Action,
    Event,
    Fence,
    Fenced,
    FenceFailed,
    Forget,
    Members,
    Resign,
    Status,
    Write,
)
from streamer.cluster.state import load
from streamer.cluster.work import Work
from streamer.control.identity import Incarnation
from streamer.control.messages import AssignmentRecord, StatusRecord, TaskReport
from streamer.control.requests import PlanRecord
from streamer.ids import TaskId
from streamer.topology.shape import Shape

TASKS = [TaskId(0, number) for number in range(4)]
RUNNING = TaskReport(state="running")
OLD, NEW = Shape(("reads a", "reads b")), Shape(("reads b", "reads a"))


class Office:
    """A controller that is told things and whose actions are looked at."""

    def __init__(
        self,
        assignments: Iterable[AssignmentRecord] = (),
        statuses: Iterable[StatusRecord] = (),
        *,
        shape: Shape | None = None,
        told: Iterable[PlanRecord] = (),
    ) -> None:
        # Without state there is nothing to copy before a task moves: see test_copies.py.
        work = Work(frozenset(TASKS), frozenset(TASKS), shape or Shape())
        self.state = load("boss", work, assignments=assignments, statuses=statuses, answers=told)
        self.log = {each.worker: each for each in assignments}
        self.now_ms = 0
        self.wall_ms = 1_000_000
        self.number = 0

    def hear(self, *events: Event) -> list[Action]:
        actions = step(self.state, events, now_ms=self.now_ms, wall_ms=self.wall_ms)
        for action in actions:
            if isinstance(action, Write):
                self.log |= {each.worker: each for each in action.records}
        return actions

    def members(self, *names: str) -> list[Action]:
        """`w1#s1` names a session of a worker."""
        pairs = [name.split("#") for name in names]
        return self.hear(Members(frozenset((worker, session) for worker, session in pairs)))

    def status(
        self,
        name: str,
        *tasks: str,
        seen: int | None = None,
        left: bool = False,
        shape: Shape | None = None,
    ) -> list[Action]:
        """`w1#s1.0` names an incarnation; it has seen everything unless said otherwise."""
        self.number += 1
        worker, incarnation = name.split("#")
        granted = self.log.get(worker)
        newest = granted.version if granted and granted.incarnation == incarnation else 0
        record = StatusRecord(
            format=1,
            number=self.number,
            worker=worker,
            incarnation=incarnation,
            seen=newest if seen is None else seen,
            tasks=dict.fromkeys(tasks, RUNNING),
            left=left,
            shape=shape.digest if shape else "",
            at_ms=self.wall_ms,
        )
        return self.hear(Status(record))

    def wait(self, duration_ms: int) -> list[Action]:
        self.now_ms += duration_ms
        self.wall_ms += duration_ms
        return self.hear()

    def fenced(self, worker: str, *incarnations: str) -> list[Action]:
        return self.hear(Fenced(worker, frozenset(map(Incarnation.parse, incarnations))))

    def tasks(self, worker: str) -> tuple[str, ...]:
        return self.log[worker].tasks if not self.log[worker].ended else ()

    def two_workers(self) -> None:
        """w1 and w2 own two tasks each, and have said so."""
        self.status("w1#s1.0")
        self.status("w2#s2.0")
        self.members("w1#s1", "w2#s2")
        self.wait(SETTLE_MS)
        self.status("w1#s1.0", *self.tasks("w1"))
        self.status("w2#s2.0", *self.tasks("w2"))


@pytest.fixture
def office() -> Office:
    return Office()


def fences(actions: list[Action]) -> list[str]:
    return [each.worker for each in actions if isinstance(each, Fence)]


def test_nothing_is_decided_before_the_members_are_known(office: Office) -> None:
    assert office.status("w1#s1.0") == []
    assert office.wait(10 * SETTLE_MS) == []


def test_a_first_placement_waits_for_others_and_is_made_once(office: Office) -> None:
    office.status("w1#s1.0")
    assert office.members("w1#s1") == []
    assert office.wait(SETTLE_MS - 1) == []
    office.status("w2#s2.0")
    assert office.members("w1#s1", "w2#s2") == []
    assert office.wait(SETTLE_MS - 1) == []
    (write,) = office.wait(1)
    assert isinstance(write, Write)
    assert {each.worker: len(each.tasks) for each in write.records} == {"w1": 2, "w2": 2}
    assert {each.version for each in write.records} == {1}
    assert {each.controller for each in write.records} == {"boss"}
    assert "w1, w2 joined" in write.records[0].why


def test_a_trickle_of_joining_workers_does_not_delay_for_ever(office: Office) -> None:
    names: list[str] = []
    for number in range(SETTLE_MS_MAX // (SETTLE_MS // 2) + 1):
        names.append(f"w{number}#s{number}")
        office.status(f"w{number}#s{number}.0")
        office.members(*names)
        if office.log:
            break
        office.wait(SETTLE_MS // 2)
    assert office.log
    assert office.now_ms <= SETTLE_MS_MAX


def test_many_names_are_not_written_to_everyone(office: Office) -> None:
    names = [f"w{number}#s{number}" for number in range(9)]
    for name in names:
        office.status(f"{name}.0")
    office.members(*names)
    office.wait(SETTLE_MS)
    assert {each.why for each in office.log.values()} == {"w0, w1, w2 and 6 more joined"}


def test_a_listed_process_that_has_not_spoken_gets_nothing(office: Office) -> None:
    office.status("w1#s1.0")
    office.members("w1#s1", "w2#s2")
    office.wait(SETTLE_MS)
    assert office.log.keys() == {"w1"}
    assert len(office.tasks("w1")) == 4


def test_a_task_moves_only_after_its_owner_let_it_go(office: Office) -> None:
    office.status("w1#s1.0")
    office.members("w1#s1")
    office.wait(SETTLE_MS)
    office.status("w1#s1.0", "0_0", "0_1", "0_2", "0_3")
    office.status("w2#s2.0")
    office.members("w1#s1", "w2#s2")
    office.wait(SETTLE_MS)
    taken = office.log["w1"].releasing
    assert len(taken) == 2
    assert office.tasks("w2") == ()

    # Seen, and one of the two is still being closed.
    office.status("w1#s1.0", *office.tasks("w1"), taken[0])
    assert office.tasks("w2") == (taken[1],)
    office.status("w1#s1.0", *office.tasks("w1"))
    assert office.tasks("w2") == taken


def test_a_status_that_has_not_seen_the_taking_proves_nothing(office: Office) -> None:
    office.status("w1#s1.0")
    office.members("w1#s1")
    office.wait(SETTLE_MS)
    office.status("w2#s2.0")
    office.members("w1#s1", "w2#s2")
    office.wait(SETTLE_MS)
    # It has not opened anything yet, and may still do so by the first assignment.
    office.status("w1#s1.0", seen=1)
    assert office.tasks("w2") == ()


def test_a_worker_that_left_is_replaced_at_once_and_without_a_fence(office: Office) -> None:
    office.two_workers()
    actions = office.status("w1#s1.0", left=True)
    (write,) = actions
    assert isinstance(write, Write)
    assert len(office.tasks("w2")) == 4
    assert office.log["w1"].ended
    assert office.log["w1"].why == "it left"
    assert office.members("w2#s2") == []


def test_a_dead_worker_is_fenced_before_its_tasks_go_on(office: Office) -> None:
    office.two_workers()
    had = office.tasks("w1")
    actions = office.members("w2#s2")
    assert fences(actions) == ["w1"]
    assert set(office.tasks("w2")).isdisjoint(had)
    assert office.wait(5_000) == []  # asked for once, and not answered yet
    office.fenced("w1", "s1.0")
    assert len(office.tasks("w2")) == 4
    assert office.log["w1"].ended
    assert office.log["w1"].tasks == had  # remembered for its return


def test_a_fence_that_failed_is_tried_again(office: Office) -> None:
    office.two_workers()
    office.members("w2#s2")
    assert office.hear(FenceFailed("w1")) == []
    assert office.wait(FENCE_RETRY_MS - 1) == []
    assert fences(office.wait(1)) == ["w1"]


def test_a_later_incarnation_of_a_session_needs_no_fence(office: Office) -> None:
    office.two_workers()
    actions = office.status("w1#s1.1")
    assert fences(actions) == []
    assert office.log["w1"].incarnation == "s1.1"
    assert len(office.tasks("w1")) == 2
    assert office.status("w1#s1.0", "0_0", seen=1) == []  # late, and too late


def test_a_quick_restart_gets_its_tasks_back_and_nobody_else_does(office: Office) -> None:
    office.two_workers()
    had, others = office.tasks("w1"), office.tasks("w2")
    office.status("w1#s3.0")
    actions = office.members("w1#s1", "w1#s3", "w2#s2")  # the dead session has not ended yet
    assert fences(actions) == ["w1"]
    office.fenced("w1", "s1.0", "s3.0")
    # The new process was fenced along with the old one: it is told so, and comes back.
    assert (office.log["w1"].incarnation, office.log["w1"].ended) == ("s3.0", True)
    assert office.log["w1"].refused == ("s1",)
    assert office.wait(COMING_MS - 1) == []
    assert office.tasks("w2") == others
    office.status("w1#s3.1")
    assert (office.log["w1"].incarnation, office.tasks("w1")) == ("s3.1", had)
    assert office.members("w1#s3", "w2#s2") == []


def test_one_that_does_not_come_back_in_time_loses_its_place(office: Office) -> None:
    office.two_workers()
    office.status("w1#s3.0")
    office.members("w1#s1", "w1#s3", "w2#s2")
    office.fenced("w1", "s1.0", "s3.0")
    office.wait(COMING_MS + 1)
    assert len(office.tasks("w2")) == 4


def test_a_fenced_process_that_wakes_up_is_told(office: Office) -> None:
    office.two_workers()
    office.members("w2#s2")
    office.fenced("w1", "s1.0")
    version = office.log["w1"].version
    office.members("w1#s1", "w2#s2")
    assert office.log["w1"].ended
    assert office.log["w1"].version == version  # it was written when it was fenced
    office.status("w1#s1.0", "0_0", seen=1)  # its last words as an owner change nothing
    assert len(office.tasks("w2")) == 4
    office.status("w1#s1.1")
    office.wait(SETTLE_MS)
    office.status("w2#s2.0", *office.tasks("w2"))
    assert len(office.tasks("w1")) == len(office.tasks("w2")) == 2


def test_a_newcomer_fenced_before_it_was_listed_is_told_when_it_is(office: Office) -> None:
    office.two_workers()
    office.status("w1#s3.0")
    office.members("w1#s1", "w1#s3", "w2#s2")
    office.members("w2#s2")  # both are away when the fence is through
    office.fenced("w1", "s1.0", "s3.0")
    assert len(office.tasks("w2")) == 4
    office.members("w1#s3", "w2#s2")
    assert (office.log["w1"].incarnation, office.log["w1"].ended) == ("s3.0", True)


def test_a_new_controller_moves_nothing(office: Office) -> None:
    office.two_workers()
    later = Office(office.log.values())
    assert later.members("w1#s1", "w2#s2") == []
    assert later.wait(10 * SETTLE_MS) == []
    # Not even when statuses come only now.
    later.number = 100
    assert later.status("w1#s1.0", *later.tasks("w1")) == []


def test_a_new_controller_fences_whom_its_predecessor_did_not(office: Office) -> None:
    office.two_workers()
    later = Office(office.log.values())
    assert fences(later.members("w2#s2")) == ["w1"]


def test_a_new_controller_knows_what_is_still_being_released(office: Office) -> None:
    office.status("w1#s1.0")
    office.members("w1#s1")
    office.wait(SETTLE_MS)
    office.status("w2#s2.0")
    office.members("w1#s1", "w2#s2")
    office.wait(SETTLE_MS)
    later = Office(office.log.values())  # and no status has survived
    later.number = 100
    later.members("w1#s1", "w2#s2")
    assert later.tasks("w2") == ()
    later.status("w2#s2.0")
    assert later.tasks("w2") == ()
    later.status("w1#s1.0", *later.tasks("w1"))
    assert len(later.tasks("w2")) == 2


def test_versions_go_on_even_when_the_assignments_are_lost() -> None:
    told = StatusRecord(
        format=1, number=9, worker="w1", incarnation="s1.0", seen=57, tasks={"0_1": RUNNING}
    )
    office = Office(statuses=[told])
    office.status("w2#s2.0")
    office.members("w1#s1", "w2#s2")
    office.wait(SETTLE_MS)
    assert office.log["w1"].version == 58
    assert "0_1" not in office.tasks("w2")  # it was never assigned in this log, but it is open


def test_two_grants_of_one_task_are_put_right() -> None:
    both = [
        AssignmentRecord(format=1, version=1, worker=name, incarnation=f"{name}.0", tasks=("0_0",))
        for name in ("w1", "w2")
    ]
    office = Office(both)
    office.members("w1#w1", "w2#w2")
    office.wait(SETTLE_MS)
    holders = [name for name in ("w1", "w2") if "0_0" in office.tasks(name)]
    assert len(holders) == 1


def test_a_worker_long_gone_is_forgotten(office: Office) -> None:
    office.two_workers()
    office.status("w1#s1.0", left=True)
    office.members("w2#s2")
    assert office.wait(FORGET_MS - TIDY_MS) == []
    assert office.wait(2 * TIDY_MS) == [Forget(("w1",))]
    assert office.wait(FORGET_MS) == []  # the living are not forgotten, however silent


def test_the_last_worker_may_leave_and_come_back_to_all_tasks(office: Office) -> None:
    office.status("w1#s1.0")
    office.members("w1#s1")
    office.wait(SETTLE_MS)
    office.status("w1#s1.0", left=True)
    assert office.log["w1"].ended
    later = Office(office.log.values())
    later.number = 100
    later.status("w1#s5.0")
    later.members("w1#s5")
    later.wait(SETTLE_MS)
    assert len(later.tasks("w1")) == 4


def fleet(*names: str, shape: Shape = OLD) -> Office:
    """A controller of this shape and its workers, who have their tasks."""
    office = Office(shape=shape)
    for name in names:
        office.status(f"{name}.0", shape=shape)
    office.members(*names)
    office.wait(SETTLE_MS)
    for name in names:
        office.status(f"{name}.0", *office.tasks(name.split("#")[0]), shape=shape)
    return office


def test_a_worker_of_another_topology_is_refused_and_moves_nothing() -> None:
    office = fleet("w1#s1", "w2#s2")
    before = office.tasks("w1"), office.tasks("w2")
    office.members("w1#s1", "w2#s2", "w3#s3")
    office.status("w3#s3.0", shape=NEW)
    refusal = office.log["w3"]
    assert (refusal.incarnation, refusal.ended, refusal.tasks) == ("s3.0", True, ())
    assert (refusal.shape, refusal.topology) == (OLD.digest, OLD.parts)
    assert office.wait(10 * COMING_MS) == []
    assert (office.tasks("w1"), office.tasks("w2")) == before


def test_one_that_comes_back_with_another_topology_is_replaced_at_once() -> None:
    office = fleet("w1#s1", "w2#s2")
    office.status("w1#s1.0", left=True, shape=OLD)
    office.members("w1#s3", "w2#s2")
    office.status("w1#s3.0", shape=NEW)
    assert len(office.tasks("w2")) == 4
    assert (office.log["w1"].incarnation, office.log["w1"].shape) == ("s3.0", OLD.digest)


def test_a_worker_of_a_release_that_does_not_tell_belongs_to_all() -> None:
    office = fleet("w1#s1")
    office.status("w2#s2.0")
    office.members("w1#s1", "w2#s2")
    office.wait(SETTLE_MS)
    assert len(office.log["w1"].releasing) == 2
    assert office.log["w2"].shape == OLD.digest


def test_a_controller_of_another_topology_resigns_while_its_owners_live() -> None:
    office = fleet("w1#s1", "w2#s2")
    told = PlanRecord(controller="boss", shape=OLD.digest, topology=OLD.parts)
    later = Office(office.log.values(), shape=NEW, told=[told])
    later.number = 100
    later.status("w3#s3.0", shape=NEW)
    # Listed, but nobody knows yet whether they live.
    assert later.members("w1#s1", "w2#s2", "w3#s3") == []
    assert later.wait(10 * COMING_MS) == []
    assert later.status("w2#s2.0", *office.tasks("w2"), shape=OLD) == [Resign(OLD.parts)]
    assert later.log == office.log


def test_dead_owners_of_another_topology_are_fenced_and_in_nobodys_way() -> None:
    office = fleet("w1#s1", "w2#s2")
    later = Office(office.log.values(), shape=NEW)
    later.number = 100
    later.status("w3#s3.0", shape=NEW)
    assert later.members("w1#s1", "w2#s2", "w3#s3") == []
    later.status("w2#s2.0", left=True, shape=OLD)
    assert fences(later.members("w3#s3")) == ["w1"]
    assert later.wait(10 * SETTLE_MS) == []  # what it may own could be any task of these
    later.fenced("w1", "s1.0")
    later.wait(SETTLE_MS)
    assert len(later.tasks("w3")) == 4
    assert later.log["w3"].shape == NEW.digest
    assert later.log["w1"].ended
    # Where those tasks were says nothing of these.
    assert not later.state.plan.former
