"""What a worker makes a snapshot of next: orders first, then the schedule, and never in a rush."""

from __future__ import annotations

import pytest

from streamer.control.messages import ChoreReport
from streamer.control.orders import SnapshotOrder
from streamer.ids import TaskId
from streamer.worker.agenda import Agenda, Want, slot

ONE, TWO, THREE = (TaskId(0, number) for number in (1, 2, 3))
HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000


def order(operation: str = "op", *tasks: str, repository: str = "") -> SnapshotOrder:
    return SnapshotOrder(format=1, operation=operation, tasks=tasks, repository=repository)


def test_without_an_order_and_a_schedule_nothing_is_wanted() -> None:
    assert Agenda().next({ONE}, NOW_MS) is None


def test_an_order_is_for_the_tasks_that_it_names_and_that_run_here() -> None:
    agenda = Agenda()
    agenda.follow(order("op", "0_2", "0_3", repository="file:///other"))
    assert agenda.next({ONE, TWO}, NOW_MS) == Want(TWO, "op", "file:///other")
    assert agenda.next({ONE}, NOW_MS) is None
    agenda.follow(order("op"))
    assert agenda.next({ONE, TWO}, NOW_MS) == Want(ONE, "op")


def test_a_task_that_is_through_is_not_done_again_until_it_moves_away() -> None:
    agenda = Agenda()
    agenda.follow(order())
    agenda.made(Want(ONE, "op"), "a" * 32, NOW_MS)
    assert agenda.next({ONE}, NOW_MS) is None
    # The same order is read once more, such as from a process that goes on with the operation.
    agenda.follow(SnapshotOrder(format=1, operation="op", at_ms=5))
    assert agenda.next({ONE}, NOW_MS) is None
    # Elsewhere it may have been given another order; the repository tells when it is back.
    agenda.only(set())
    assert agenda.next({ONE}, NOW_MS) == Want(ONE, "op")


def test_another_order_begins_anew_and_none_forgets_all() -> None:
    agenda = Agenda()
    agenda.follow(order())
    agenda.made(Want(ONE, "op"), "a" * 32, NOW_MS)
    agenda.follow(order("second"))
    assert agenda.next({ONE}, NOW_MS) == Want(ONE, "second")
    assert not agenda.is_ordered(Want(ONE, "op"))
    agenda.follow()
    assert agenda.next({ONE}, NOW_MS) is None
    assert agenda.chores({ONE}, {}) == {}


def test_what_failed_waits_ever_longer_and_holds_up_no_other() -> None:
    agenda = Agenda()
    agenda.follow(order())
    pauses = []
    now_ms = NOW_MS
    for _ in range(9):
        assert agenda.next({ONE}, now_ms) == Want(ONE, "op")
        pauses.append(agenda.failed(Want(ONE, "op"), "no room", now_ms))
        assert agenda.next({ONE, TWO}, now_ms) == Want(TWO, "op")
        assert agenda.next({ONE}, now_ms + pauses[-1] - 1) is None
        now_ms += pauses[-1]
    assert pauses == [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]
    agenda.made(Want(ONE, "op"), "a" * 32, now_ms)
    assert agenda.chores({ONE}, {})[ONE].state == "done"


def test_where_they_take_longer_than_the_interval_each_task_has_its_turn() -> None:
    agenda = Agenda(HOUR_MS)
    made: list[TaskId] = []
    for turn in range(6):
        now_ms = NOW_MS + turn * 2 * HOUR_MS
        want = agenda.next({ONE, TWO, THREE}, now_ms)
        assert want is not None
        agenda.made(want, "a" * 32, now_ms)
        made.append(want.task)
    assert made == [ONE, TWO, THREE] * 2


def test_an_order_that_is_given_again_is_a_new_chance() -> None:
    agenda = Agenda()
    agenda.follow(order())
    agenda.failed(Want(ONE, "op"), "no room", NOW_MS)
    assert agenda.next({ONE}, NOW_MS) is None
    agenda.follow(SnapshotOrder(format=1, operation="op", at_ms=5))
    assert agenda.next({ONE}, NOW_MS) == Want(ONE, "op")


def test_chores_tell_all_that_are_asked_for() -> None:
    agenda = Agenda()
    agenda.follow(order())
    agenda.made(Want(ONE, "op"), "a" * 32, NOW_MS)
    agenda.failed(Want(TWO, "op"), "no room", NOW_MS)
    working = ChoreReport(operation="op", state="working", bytes_done=1, bytes_total=2)
    four = TaskId(0, 4)
    assert agenda.chores({ONE, TWO, THREE, four}, {THREE: working}) == {
        ONE: ChoreReport(operation="op", state="done", made="a" * 32),
        TWO: ChoreReport(operation="op", state="failed", why="no room"),
        THREE: working,
        four: ChoreReport(operation="op", state="waiting"),
    }


def test_the_schedule_asks_once_in_each_interval() -> None:
    agenda = Agenda(HOUR_MS)
    assert agenda.next({ONE}, NOW_MS) == Want(ONE), "nobody knows of any"
    agenda.made(Want(ONE), "a" * 32, NOW_MS)
    due = [minute for minute in range(1, 121) if agenda.is_due(ONE, NOW_MS + minute * 60_000)]
    # From the beginning of the next interval on, which is an hour away at most, until it is made.
    assert due == list(range(due[0], 121))
    assert due[0] <= 60
    agenda.made(Want(ONE), "b" * 32, NOW_MS + due[0] * 60_000)
    assert not agenda.is_due(ONE, NOW_MS + due[0] * 60_000 + HOUR_MS - 120_000)
    assert agenda.is_due(ONE, NOW_MS + due[0] * 60_000 + HOUR_MS)


def test_orders_go_before_the_schedule() -> None:
    agenda = Agenda(HOUR_MS)
    agenda.follow(order("op", "0_2"))
    assert agenda.next({ONE, TWO}, NOW_MS) == Want(TWO, "op")
    agenda.made(Want(TWO, "op"), "a" * 32, NOW_MS)
    assert agenda.next({ONE, TWO}, NOW_MS) == Want(ONE)
    agenda.learnt(ONE, NOW_MS)
    # What was made for an order is a snapshot like any other.
    assert agenda.next({ONE, TWO}, NOW_MS) is None


def test_a_snapshot_elsewhere_does_not_count_for_the_schedule() -> None:
    agenda = Agenda(HOUR_MS)
    agenda.follow(order("op", repository="file:///other"))
    agenda.made(Want(ONE, "op", "file:///other"), "a" * 32, NOW_MS)
    assert agenda.next({ONE}, NOW_MS) == Want(ONE)


@pytest.mark.slow
def test_tasks_begin_their_intervals_evenly_spread() -> None:
    for count in (2, 5, 12, 60):
        tasks = [TaskId(0, number) for number in range(count)]
        begins = sorted(_begin_of(task) for task in tasks)
        gaps = [b - a for a, b in zip(begins, [*begins[1:], begins[0] + HOUR_MS], strict=True)]
        # Three gaps at most, by the theorem of the same name; none of them large.
        assert max(gaps) <= 2.7 * HOUR_MS / count, (count, gaps)


def _begin_of(task: TaskId) -> int:
    """The moment within the hour at which the task's interval begins, to a second."""
    numbers = [slot(task, NOW_MS + at, HOUR_MS) for at in range(0, HOUR_MS + 1_000, 1_000)]
    return next(at for at, number in enumerate(numbers) if number != numbers[0]) * 1_000


def test_of_several_orders_a_task_follows_the_narrowest_and_each_other_task_its_own() -> None:
    agenda = Agenda()
    agenda.follow(order("all"), order("one", "0_1"), order("elsewhere", "0_9"))
    assert agenda.next({ONE, TWO}, NOW_MS) == Want(ONE, "one")
    agenda.made(Want(ONE, "one"), "a" * 32, NOW_MS)
    assert agenda.next({ONE, TWO}, NOW_MS) == Want(TWO, "all")
    agenda.made(Want(TWO, "all"), "b" * 32, NOW_MS)
    told = {task: chore.operation for task, chore in agenda.chores({ONE, TWO}, {}).items()}
    assert told == {ONE: "one", TWO: "all"}
    # Taken back, it leaves room for the other; what was made for that is still known.
    agenda.follow(order("all"))
    assert agenda.next({ONE, TWO}, NOW_MS) == Want(ONE, "all")


def test_an_order_that_fails_keeps_no_other_one_of_the_task_waiting() -> None:
    agenda = Agenda()
    agenda.follow(order("all"), order("one", "0_1"))
    agenda.failed(Want(ONE, "one"), "no room", NOW_MS)
    assert agenda.next({ONE}, NOW_MS) == Want(ONE, "all")
    agenda.failed(Want(ONE, "all"), "no room", NOW_MS + 1)
    assert agenda.next({ONE}, NOW_MS + 5_001) == Want(ONE, "one")
