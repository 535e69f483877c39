"""Statuses and assignments together: every disk with a copy, and what nobody has told."""

from __future__ import annotations

from streamer.control.messages import AssignmentRecord, StandbyReport, StatusRecord, TaskReport
from streamer.errors import InternalTopicError
from streamer.ids import TaskId, TopicPartition
from streamer.operations.trim.copies import cluster_of
from streamer.operations.trim.facts import Cluster

FIRST, SECOND = TaskId(0, 0), TaskId(0, 1)


def status(worker: str, incarnation: str = "s.0", **fields: object) -> StatusRecord:
    return StatusRecord(
        format=1,
        number=1,
        worker=worker,
        incarnation=incarnation,
        at_ms=9,
        **fields,  # type: ignore[arg-type]
    )


def given(worker: str, incarnation: str = "s.0", **fields: object) -> AssignmentRecord:
    return AssignmentRecord(format=1, version=1, worker=worker, incarnation=incarnation, **fields)  # type: ignore[arg-type]


def cluster(*records: StatusRecord | AssignmentRecord) -> Cluster:
    return cluster_of(
        "app",
        {one.worker: one for one in records if isinstance(one, AssignmentRecord)},
        {one.worker: one for one in records if isinstance(one, StatusRecord)},
        refused={},
    )


def test_positions_are_told_by_changelog() -> None:
    found = cluster(
        status("w1", tasks={"0_0": TaskReport(state="running", durable={"a": 5, "b": 7})}),
        status("w2", standbys={"0_0": StandbyReport(durable={"a": 4})}),
    )
    active, standby = found.copies[FIRST]
    assert active.positions == {
        TopicPartition("app-a-changelog", 0): 5,
        TopicPartition("app-b-changelog", 0): 7,
    }
    assert (standby.role, standby.positions) == (
        "standby",
        {TopicPartition("app-a-changelog", 0): 4},
    )
    assert found.unknown == {}


def test_a_copy_that_was_given_and_not_told_of_is_not_known() -> None:
    found = cluster(
        given("w1", tasks=("0_0",), standbys=("0_1",)),
        status("w1", tasks={"0_0": TaskReport(state="running")}),
        given("w2", tasks=("0_1",)),
    )
    assert {task: [one.owner for one in each] for task, each in found.unknown.items()} == {
        SECOND: ["worker w1", "worker w2"]
    }


def test_what_an_earlier_life_told_is_not_what_this_one_has() -> None:
    found = cluster(
        given("w1", incarnation="s.1", tasks=("0_0",)),
        status("w1", incarnation="s.0", tasks={"0_0": TaskReport(state="running")}),
    )
    assert [one.owner for one in found.unknown[FIRST]] == ["worker w1"]
    assert len(found.copies[FIRST]) == 1


def test_a_worker_that_was_fenced_is_gone_and_still_counts() -> None:
    found = cluster(
        given("w1", tasks=("0_0",), ended=True),
        status("w1", tasks={"0_0": TaskReport(state="running", durable={"a": 3})}),
        given("w2", tasks=("0_1",), ended=True),
    )
    [copy] = found.copies[FIRST]
    assert copy.is_gone
    assert str(copy) == "worker w1 (gone, active)"
    assert found.unknown == {}


def test_a_worker_that_is_back_has_what_its_last_life_had_until_it_is_given_something() -> None:
    gone = given("w1", incarnation="s.0", tasks=("0_0",), standbys=("0_1",), ended=True)
    for life in ("t.0", "s.1"):
        found = cluster(gone, status("w1", incarnation=life))
        for task in (FIRST, SECOND):
            [one] = found.unknown[task]
            assert one.owner == "worker w1"
            assert one.reason.startswith("it is back, had a copy of the task")
    assert cluster(given("w1", incarnation="t.0"), status("w1", incarnation="t.0")).unknown == {}


def test_a_last_word_of_an_earlier_life_or_a_good_bye_is_no_return() -> None:
    gone = given("w1", incarnation="s.1", tasks=("0_0",), ended=True)
    assert cluster(gone, status("w1", incarnation="s.0")).unknown == {}
    assert cluster(gone, status("w1", incarnation="s.1")).unknown == {}
    assert cluster(gone, status("w1", incarnation="t.0", left=True)).unknown == {}


def test_a_task_that_is_being_given_up_is_waited_for_by_nobody() -> None:
    assert cluster(given("w1", releasing=("0_0",)), status("w1")).unknown == {}


def test_a_record_that_cannot_be_read_may_be_any_task_s() -> None:
    found = cluster_of("app", {}, {}, refused={"w9 in app.status": InternalTopicError("no JSON")})
    [one] = found.unknown_of_all
    assert (one.owner, one.reason) == ("w9 in app.status", "its record cannot be read: no JSON")
