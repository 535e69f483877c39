"""The first controller of a layout puts tasks where whoever switched to it has said."""

from __future__ import annotations

from dataclasses import replace

from streamer.cluster.attendance import BEGINNING_MS
from streamer.control.goals import decode_goal, goal_rows
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


def test_a_controller_that_dies_after_its_first_grants_is_followed_on_the_same_way() -> None:
    made = fleet("w1", "w2")
    switch(made, {"w1": [1], "w2": [0]}, {})
    former = dict(made.answers)
    begin(made, "w1")
    assert made.owners() == {"0_1": "w1"}
    # It has told nobody of the plan yet.
    made.answers = former
    made.replace_controller()
    made.settle()
    assert made.owners() == {"0_1": "w1"}
    made.start("w2")
    made.settle()
    assert made.owners() == {"0_1": "w1", "0_0": "w2"}


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
