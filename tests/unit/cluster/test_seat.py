"""The worker's side: what it hears, what it says, and when it must start again or end."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from streamer.cluster.seat import Desired, Seat, Shadowed
from streamer.control.identity import Incarnation
from streamer.control.messages import (
    AssignmentRecord,
    ChoreReport,
    StandbyReport,
    StatusRecord,
    TaskReport,
)
from streamer.errors import TopologyChangedError
from streamer.ids import TaskId
from streamer.topology.shape import Shape

ONE, TWO = TaskId(0, 1), TaskId(0, 2)
RUNNING = TaskReport(state="running")


def seat() -> Seat:
    return Seat("w1", Incarnation("s1"), zone="az=a", address="h:1")


def record(
    version: int, incarnation: str = "s1.0", *tasks: str, ended: bool = False, refused: str = ""
) -> AssignmentRecord:
    return AssignmentRecord(
        format=1,
        version=version,
        worker="w1",
        incarnation=incarnation,
        tasks=tasks,
        ended=ended,
        refused=(refused,) if refused else (),
    )


def say(one: Seat, now_ms: int) -> StatusRecord | None:
    return one.status(now_ms, interval_ms=1_000, wall_ms=5)


def test_the_newest_assignment_of_the_own_incarnation_counts() -> None:
    one = seat()
    one.hear(record(3, "s1.0", "0_1"))
    one.hear(record(2, "s1.0", "0_2"))
    assert one.desired == Desired(3, frozenset({ONE}))
    one.hear(record(4, "s1.7", "0_2"))
    assert one.desired == Desired(3, frozenset({ONE}))


def test_the_predecessors_records_do_not_matter() -> None:
    one = seat()
    one.hear(record(1, "s0.0", "0_1"))
    one.hear(record(2, "s0.0", "0_1", ended=True))
    assert (one.desired, one.is_fenced, one.failure) == (None, False, None)


def test_reading_the_log_again_changes_nothing() -> None:
    one = seat()
    log = [record(1, "s0.0", "0_1"), record(2, "s1.0", "0_1")]
    for each in log * 2:
        one.hear(each)
    assert one.failure is None
    assert one.desired == Desired(2, frozenset({ONE}))


def test_status_is_said_on_news_and_from_time_to_time() -> None:
    one = seat()
    first = say(one, 0)
    assert first is not None
    assert (first.number, first.seen, first.zone, first.address) == (1, 0, "az=a", "h:1")
    assert say(one, 999) is None
    one.hear(record(3, "s1.0", "0_1"))
    assert one.report(3, {ONE: TaskReport(state="restoring")}) is True
    second = say(one, 999)
    assert second is not None
    assert (second.number, second.seen, list(second.tasks)) == (2, 3, ["0_1"])
    assert one.report(3, {ONE: TaskReport(state="restoring", restore_left_records=5)}) is False
    assert say(one, 1_500) is None
    repeated = say(one, 2_000)
    assert repeated is not None
    assert repeated.tasks["0_1"].restore_left_records == 5
    assert one.report(3, {ONE: RUNNING}) is True


def test_an_assignment_that_was_never_handed_out_is_not_acknowledged() -> None:
    one = seat()
    one.hear(record(3, "s1.0", "0_1"))
    one.report(9, {})
    told = say(one, 0)
    assert told is not None
    assert told.seen == 0


def test_after_fencing_a_new_incarnation_begins_with_nothing() -> None:
    one = seat()
    one.hear(record(3, "s1.0", "0_1"))
    one.report(3, {ONE: RUNNING})
    one.hear(record(4, "s1.0", "0_1", ended=True))
    assert one.is_fenced
    one.rejoin()
    told = say(one, 0)
    assert told is not None
    assert (told.incarnation, told.seen, told.tasks) == ("s1.1", 0, {})
    one.hear(record(5, "s1.0", "0_2"))
    assert one.desired is None
    one.hear(record(6, "s1.1", "0_2"))
    assert one.desired == Desired(6, frozenset({TWO}))


def test_who_was_replaced_or_refused_must_end() -> None:
    replaced = seat()
    replaced.hear(record(3, "s1.0", "0_1"))
    replaced.hear(record(4, "s2.0", "0_1"))
    assert "taken over the worker id 'w1' (session s2" in str(replaced.failure)
    refused = seat()
    refused.hear(record(4, "s2.0", "0_1", refused="s1"))
    assert "this one is s1" in str(refused.failure)


def test_leaving_is_the_last_word() -> None:
    one = seat()
    one.hear(record(3, "s1.0", "0_1"))
    one.report(3, {ONE: RUNNING})
    emptiness = [one.is_empty]
    one.report(3, {})
    assert [*emptiness, one.is_empty] == [False, True]
    one.leave()
    told = say(one, 0)
    assert told is not None
    assert (told.left, told.tasks) == (True, {})
    one.hear(record(4, "s1.0", ended=True))
    assert one.is_handed_over
    assert not one.is_fenced


def test_an_assignment_of_another_topology_refuses_this_process() -> None:
    own, running = Shape(("reads b", "reads a; keeps t")), Shape(("reads a; keeps t",))
    one = Seat("w1", Incarnation("s1"), shape=own)
    told = say(one, 0)
    assert told is not None
    assert told.shape == own.digest
    # Of the predecessor of this process, which had that one.
    one.hear(replace(record(1, "s0.0", "0_1"), shape=running.digest))
    assert one.failure is None
    one.hear(replace(record(2, ended=True), shape=running.digest, topology=running.parts))
    assert isinstance(one.failure, TopologyChangedError)
    assert not one.is_fenced
    assert str(one.failure) == (
        "the running workers have another topology: subtopology 0 reads a; keeps t, but here reads"
        " b; subtopology 1 does not exist, but here reads a; keeps t"
    )


def test_an_assignment_that_tells_no_topology_is_taken() -> None:
    one = Seat("w1", Incarnation("s1"), shape=Shape(("reads a",)))
    one.hear(record(3, "s1.0", "0_1"))
    assert (one.failure, one.desired) == (None, Desired(3, frozenset({ONE})))


def test_what_became_of_an_order_is_told_at_once_and_its_bytes_with_the_next_status() -> None:
    one = seat()
    one.report(0, {ONE: RUNNING})
    say(one, 0)
    working = ChoreReport(operation="op", state="working", bytes_done=1)
    assert one.report(0, {ONE: replace(RUNNING, chore=working)})
    assert not one.report(0, {ONE: replace(RUNNING, chore=replace(working, bytes_done=9))})
    assert one.report(0, {ONE: replace(RUNNING, chore=replace(working, state="done"))})
    assert one.report(0, {ONE: RUNNING})


def test_what_could_not_be_written_is_said_again_at_once() -> None:
    one = seat()
    assert say(one, 0) is not None
    one.report(0, {ONE: RUNNING})
    lost = say(one, 10)
    assert lost is not None
    assert say(one, 20) is None
    one.unsaid()
    again = say(one, 30)
    assert again is not None
    assert (again.tasks, again.number) == (lost.tasks, lost.number + 1)
    assert say(one, 40) is None


def test_copies_for_the_next_layout_are_told_at_once_when_they_are_warm_or_fail() -> None:
    one = seat()
    one.warm_lag_max = 10

    def told(lag: int, *, state: Literal["standby", "failed"] = "standby") -> bool:
        reports = {ONE: StandbyReport(state=state, lag_records=lag)}
        return one.report(0, {}, shadows=Shadowed("fold-1", reports))

    assert told(40)
    assert not told(30)
    assert told(10)
    assert told(-1, state="failed")
    said = say(one, 0)
    assert said is not None
    assert said.shadows == {"0_1": StandbyReport(state="failed", lag_records=-1)}
    assert (said.shadows_of, said.standbys) == ("fold-1", {})
    assert one.report(0, {}, shadows=Shadowed())
    # A life begins, and ends, with none.
    told(0)
    one.rejoin()
    rejoined = say(one, 1)
    assert rejoined is not None
    assert (rejoined.shadows, rejoined.shadows_of) == ({}, "")
    told(0)
    one.leave()
    left = say(one, 2)
    assert left is not None
    assert (left.shadows, left.shadows_of) == ({}, "")


def test_what_its_process_had_before_is_in_every_word() -> None:
    """The first may be overwritten by the second before a controller reads it."""
    one = Seat("w1", Incarnation("s2"), follows="s1")
    words = say(one, 0)
    assert words is not None
    one.rejoin()
    again = say(one, 1)
    assert again is not None
    assert (words.follows, again.follows) == ("s1", "s1")
    first = say(seat(), 0)
    assert first is not None
    assert first.follows == ""


def test_what_is_left_of_former_layouts_is_told_and_told_anew_when_it_goes() -> None:
    one = seat()
    assert one.report(0, {}, former={"0_1": 5})
    assert not one.report(0, {}, former={"0_1": 5})
    said = say(one, 0)
    assert said is not None
    assert said.former == {"0_1": 5}
    assert one.report(0, {}, former={})
