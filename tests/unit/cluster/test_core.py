"""The controller's decisions, one situation at a time: what must be done, and what must wait."""

from __future__ import annotations

import pytest

from streamer.cluster.attendance import COMING_MS, SETTLE_MS, SETTLE_MS_MAX
from streamer.cluster.core import FENCE_RETRY_MS, FORGET_MS, TIDY_MS
from streamer.cluster.events import (
    FenceFailed,
    Forget,
    Write,
)
from streamer.cluster.hold import HOLD_MS
from streamer.control.messages import AssignmentRecord, StatusRecord
from tests.unit.cluster.office import RUNNING, Office, fences


@pytest.fixture
def office() -> Office:
    return Office()


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
    (write,) = office.wait(HOLD_MS)
    assert isinstance(write, Write)
    assert set(office.tasks("w2")).isdisjoint(had)
    assert office.wait(5_000) == []  # asked for once, and not answered yet
    office.fenced("w1", "s1.0")
    assert len(office.tasks("w2")) == 4
    assert office.log["w1"].ended
    assert office.log["w1"].tasks == had  # remembered for its return


def test_nothing_is_written_while_fences_come_through(office: Office) -> None:
    office.two_workers()
    office.status("w3#s3.0")
    office.members("w1#s1", "w2#s2", "w3#s3")
    office.wait(SETTLE_MS)
    before = dict(office.log)
    assert fences(office.members("w3#s3")) == ["w1", "w2"]
    assert office.status("w3#s3.0") == []
    assert office.wait(HOLD_MS - 1) == []
    # One is through, and the other one may be in a moment.
    assert office.fenced("w1", "s1.0") == []
    assert office.wait(HOLD_MS - 1) == []
    assert office.log == before
    assert len([each for each in office.fenced("w2", "s2.0") if isinstance(each, Write)]) == 1
    assert len(office.tasks("w3")) == 4


def test_a_fence_that_failed_is_tried_again(office: Office) -> None:
    office.two_workers()
    office.members("w2#s2")
    assert fences(office.hear(FenceFailed("w1"))) == []
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
    later = Office(office.log.values(), told=office.told, goal=office.goal)
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
