"""The first controller of a layout puts tasks where whoever switched to it has said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamer.cluster.attendance import BEGINNING_MS, SETTLE_MS
from streamer.cluster.events import Fenced, Members, Status, Write
from streamer.control.goals import decode_goal, goal_rows
from streamer.control.identity import Incarnation
from streamer.ids import Layout, TaskId
from streamer.topology.shape import Shape
from tests.unit.cluster.fleet import Fleet

FEWER = frozenset(TaskId(0, number) for number in range(2))
BEFORE, AFTER = Shape(("runs as 4 tasks",)), Shape(("runs as 2 tasks of layout 2",))


def fleet(*workers: str, standbys: int = 0) -> Fleet:
    """Workers of layout 1 that have all their tasks."""
    made = Fleet(standbys=standbys)
    made.work = replace(made.work, shape=BEFORE)
    made.replace_controller()
    for worker in workers:
        made.start(worker)
    made.settle()
    assert sum(made.has(worker)[0] for worker in workers) == 4
    return made


def switch(made: Fleet, actives: dict[str, list[int]], standbys: dict[str, list[int]]) -> None:
    """All leave, a switch has written where the tasks of layout 2 shall begin, and a controller of
    layout 2 comes."""
    for worker in [*made.alive]:
        made.leave(worker)
    named = [
        {worker: [TaskId(0, one) for one in tasks] for worker, tasks in each.items()}
        for each in (actives, standbys)
    ]
    rows = goal_rows("app", 2, named[0], standbys=named[1])
    made.goal = decode_goal({key: value for _place, key, value in rows}, "app.operations", 2)
    made.work = replace(made.work, tasks=FEWER, shape=AFTER, layout=Layout(2))


def begin(made: Fleet, *workers: str) -> None:
    for worker in workers:
        made.start(worker)
    made.replace_controller()
    made.turn()


def test_tasks_begin_where_their_copies_are_and_wait_for_who_is_not_back_yet() -> None:
    made = fleet("w1", "w2", "w3")
    switch(made, {"w1": [1], "w3": [0]}, {})
    begin(made, "w1")
    made.settle()
    assert made.owners() == {"0_1": "w1"}
    assert made.told.why == "layout 2 begins where copies were made for it"
    made.start("w3")
    made.turn()
    assert made.owners() == {"0_1": "w1", "0_0": "w3"}
    made.settle()
    assert made.owners() == {"0_1": "w1", "0_0": "w3"}
    # What the switch knew of no shape was written anew, and is true: nothing is on its way.
    assert all(each.copies == {} for each in made.goal.values())


def test_nobody_else_is_given_what_is_on_the_disk_of_who_is_not_back_yet() -> None:
    made = fleet("w1", "w2")
    made.lag = 500
    switch(made, {"w1": [0], "w2": [1]}, {})
    begin(made, "w1", "w3")
    made.settle()
    assert made.owners() == {"0_0": "w1"}
    made.start("w2")
    made.settle()
    assert made.owners() == {"0_0": "w1", "0_1": "w2"}


def test_who_does_not_come_back_is_given_up() -> None:
    made = fleet("w1", "w2")
    switch(made, {"w1": [1], "w2": [0]}, {})
    begin(made, "w1")
    made.now_ms += BEGINNING_MS
    made.settle()
    assert made.owners() == {"0_0": "w1", "0_1": "w1"}


def test_what_the_first_controller_goes_by_is_told_in_the_transaction_of_its_first_grants() -> None:
    """Where all are back those use the goal up, and it may die before it tells anything else."""
    made = fleet("w1", "w2")
    switch(made, {"w1": [1], "w2": [0]}, {})
    made.start("w1")
    made.replace_controller()
    made.now_ms += SETTLE_MS
    members = Members(frozenset({("w1", made.session("w1"))}))
    [first] = made.hear(Status(made.status("w1")), members)
    assert isinstance(first, Write)
    assert {each.worker: each.tasks for each in first.records} == {"w1": ("0_1",)}
    assert first.plan is not None
    assert (first.plan.shape, first.plan.beginning) == (AFTER.digest, ("w2",))


def test_whoever_follows_a_controller_that_has_told_its_plan_waits_for_the_same() -> None:
    made = fleet("w1", "w2")
    made.lag = 500
    switch(made, {"w1": [1], "w2": [0]}, {})
    begin(made, "w1", "w3")
    made.settle()
    assert made.told.beginning == ("w2",)
    made.replace_controller()
    made.settle()
    assert made.owners() == {"0_1": "w1"}
    made.start("w2")
    made.settle()
    assert made.owners() == {"0_1": "w1", "0_0": "w2"}
    assert made.told.beginning == ()


@pytest.mark.parametrize("has_told", [True, False])
def test_whoever_was_fenced_in_the_new_layout_is_waited_for_by_the_next_controller(
    has_told: bool,
) -> None:
    made = fleet("w1", "w2")
    made.lag = 500
    switch(made, {"w1": [1], "w2": [0]}, {})
    former = dict(made.answers)
    begin(made, "w1", "w3")
    made.start("w2")
    members = Members(frozenset((each, made.session(each)) for each in made.alive))
    fenced = Fenced("w2", frozenset({Incarnation(made.session("w2"))}))
    made.hear(Status(made.status("w2")), members, fenced)
    assert made.log["w2"].why == "it was fenced, and may come back"
    made.die("w2")
    made.answers = made.answers if has_told else former
    made.replace_controller()
    made.settle()
    assert made.owners() == {"0_1": "w1"}, "nobody else is given what w2 has on its disk"
    made.start("w2")
    made.settle()
    assert made.owners() == {"0_1": "w1", "0_0": "w2"}


def test_whoever_comes_back_is_where_it_was_for_the_next_controller_too() -> None:
    """That one has granted it nothing yet, and is not to place all anew for that."""
    made = fleet("w1", "w2", standbys=1)
    made.lag = 500
    # Two of one worker: who places the tasks anew deals them out evenly.
    switch(made, {"w2": [0, 1]}, {"w1": [0, 1]})
    begin(made, "w1")
    made.settle()
    assert made.told.beginning == ("w2",)
    made.replace_controller()
    made.start("w2")
    made.settle()
    assert made.owners() == {"0_0": "w2", "0_1": "w2"}
    assert "came back" not in made.told.why


def test_who_was_given_up_is_not_waited_for_by_the_next_controller() -> None:
    made = fleet("w1", "w2")
    switch(made, {"w1": [1], "w2": [0]}, {})
    begin(made, "w1")
    made.now_ms += BEGINNING_MS
    made.settle()
    assert made.told.beginning == ()
    made.replace_controller()
    made.settle()
    assert made.owners() == {"0_0": "w1", "0_1": "w1"}


def test_standbys_of_the_switch_are_kept_and_those_it_did_not_think_of_are_made() -> None:
    made = fleet("w1", "w2", standbys=1)
    switch(made, {"w1": [0], "w2": [1]}, {"w2": [0], "w1": [1]})
    begin(made, "w1", "w2")
    made.settle()
    assert made.owners() == {"0_0": "w1", "0_1": "w2"}
    assert [made.log[worker].standbys for worker in ("w1", "w2")] == [("0_1",), ("0_0",)]
    assert "layout 2 begins" in made.told.why

    scant = fleet("w1", "w2", standbys=1)
    switch(scant, {"w1": [0], "w2": [1]}, {})
    begin(scant, "w1")
    scant.settle()
    assert scant.owners() == {"0_0": "w1"}
    assert scant.log["w1"].standbys == ()
    scant.start("w2")
    scant.settle()
    assert scant.owners() == {"0_0": "w1", "0_1": "w2"}
    assert [scant.log[worker].standbys for worker in ("w1", "w2")] == [("0_1",), ("0_0",)]
    assert scant.told.why == "the layout has begun, and tasks have fewer copies than they should"


def test_a_layout_whose_switch_said_nothing_is_placed_anew() -> None:
    made = fleet("w1", "w2")
    switch(made, {}, {})
    begin(made, "w1", "w2")
    made.settle()
    assert sorted(made.owners()) == ["0_0", "0_1"]
    assert "layout 2 begins" not in made.told.why
