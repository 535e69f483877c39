"""What the next controller goes by: the target of the few tasks that are on their way."""

from __future__ import annotations

import pytest

from streamer.assignment.facts import Copies
from streamer.cluster.events import Fenced
from streamer.cluster.goal import Goal, is_same, standing
from streamer.cluster.view import Grant, WorkerView
from streamer.control.goals import (
    PIECES,
    GoalRecord,
    decode_goal,
    encode_goal,
    former_goals,
    goal_key,
    goal_rows,
    piece_of,
)
from streamer.control.identity import Incarnation
from streamer.control.messages import AssignmentRecord
from streamer.errors import InternalTopicError
from streamer.ids import TaskId
from tests.unit.cluster.fleet import DELAY_MS, TASKS, Fleet

FLEET_BYTES_MAX = 16 * 1024
MANY = [TaskId(0, number) for number in range(12_000)]


def views(target: dict[TaskId, Copies], shape: str = "") -> dict[str, WorkerView]:
    """Workers that were granted exactly this, under the shape of this digest."""
    tasks: dict[str, list[str]] = {}
    standbys: dict[str, list[str]] = {}
    for task, copies in target.items():
        tasks.setdefault(copies.active or "", []).append(str(task))
        for worker in copies.standbys:
            standbys.setdefault(worker, []).append(str(task))
    return {
        worker: WorkerView(
            Grant.of(
                AssignmentRecord(
                    format=1,
                    version=1,
                    worker=worker,
                    incarnation="s.0",
                    tasks=tuple(tasks.get(worker, ())),
                    standbys=tuple(standbys.get(worker, ())),
                    shape=shape,
                )
            )
        )
        for worker in tasks.keys() | standbys.keys()
    }


def placed(workers: int) -> dict[TaskId, Copies]:
    names = [f"shop-host-{number:04}" for number in range(workers)]
    return {
        task: Copies(names[at % workers], (names[(at + 1) % workers],))
        for at, task in enumerate(MANY)
    }


def written(changes: dict[int, GoalRecord]) -> int:
    return sum(len(encode_goal(each) or b"") for each in changes.values())


@pytest.mark.slow
def test_a_change_of_one_of_1200_workers_is_some_kilobytes() -> None:
    target = placed(1_200)
    granted = views(target)
    goal = Goal()
    assert goal.changes(target, granted) == {}
    lost = "shop-host-0007"
    after = {
        task: Copies(copies.standbys[0], ("shop-host-0999",)) if lost in copies.workers else copies
        for task, copies in target.items()
    }
    changes = goal.changes(after, granted)
    assert 0 < written(changes) < FLEET_BYTES_MAX
    assert goal.changes(after, granted) == {}
    # Once all have arrived, the pieces are taken back.
    assert {each.copies == {} for each in goal.changes(after, views(after)).values()} == {True}
    assert goal.copies == {}


def test_the_largest_piece_fits_a_message() -> None:
    changes = Goal().changes(placed(1_200), {})
    assert len(changes) == PIECES
    assert max(len(encode_goal(each) or b"") for each in changes.values()) < 64 * 1024


def test_a_piece_is_written_anew_where_it_is_not_true_any_more() -> None:
    task = TaskId(0, 1)
    goal = Goal()
    goal.changes({task: Copies("a")}, {})
    # It arrived, stayed named, and now goes elsewhere: back, and it is as good as there.
    changes = goal.changes({task: Copies("b")}, views({task: Copies("b")}))
    assert changes == {piece_of(task): GoalRecord()}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b'{"format":2,"copies":{}}', "has format version 2; this release reads 1"),
        (b'{"format":1,"copies":{"0_1":"w1"}}', "is not a piece of a goal"),
        (b'{"format":1,"copies":{"zero":["w1"]}}', "is not a piece of a goal"),
    ],
)
def test_a_piece_that_cannot_be_read_is_refused_by_its_key(value: bytes, named: str) -> None:
    with pytest.raises(
        InternalTopicError, match=r"app\.operations: the record of key 'goal\.7'"
    ) as e:
        decode_goal({goal_key(7): value}, "app.operations")
    assert named in str(e.value)


def test_a_piece_is_read_as_it_was_written() -> None:
    record = GoalRecord(shape="s", copies={"0_1": ("w1", "w2"), "0_2": ("", "w3")})
    value = encode_goal(record)
    assert value == b'{"format":1,"shape":"s","copies":{"0_1":["w1","w2"],"0_2":["","w3"]}}'
    rows = {goal_key(3): value, goal_key(4): encode_goal(GoalRecord()), "plan": b"{}"}
    assert decode_goal(rows, "t") == {3: record}


def test_each_layout_has_pieces_of_its_own_and_takes_back_those_of_former_ones() -> None:
    first, second = TaskId(0, 0), TaskId(0, 1)
    written = goal_rows("app", 2, {"w2": [second], "w1": [first]}, standbys={"w1": [second]})
    assert {(place.topic, place.partition) for place, _key, _value in written} == {
        ("app.operations", 0)
    }
    former = goal_key(piece_of(first))
    rows = {former: b"{", **{key: value for _place, key, value in written}}
    found = decode_goal(rows, "app.operations", 2)
    assert {each.shape for each in found.values()} == {""}
    named = {task: copies for each in found.values() for task, copies in each.copies.items()}
    assert named == {"0_0": ("w1",), "0_1": ("w2", "w1")}
    assert decode_goal(rows, "app.operations", 3) == {}
    assert former_goals(rows, 2) == [former]
    assert former_goals(rows, 3) == sorted(rows)
    assert former_goals({former: None, "plan": b"{}", "goal.layout-9.1": b"{}"}, 2) == []


def test_pieces_of_another_shape_or_that_nobody_can_read_are_replaced() -> None:
    goal = Goal()
    goal.take({5: GoalRecord(shape="old", copies={"0_1": ("w1",)})}, "new")
    assert goal.copies == {}
    task = TaskId(0, 1)
    assert goal.changes({task: Copies("a")}, views({task: Copies("a")})) == {5: GoalRecord()}
    goal.take(None, "new")
    assert len(goal.changes({task: Copies("a")}, {})) == PIECES


def test_a_task_is_not_where_another_of_its_name_was_under_another_shape() -> None:
    """So it is while workers of the former layout are still to be ended."""
    target = {TaskId(0, 1): Copies("a", ("b",))}
    assert standing(views(target, "new"), "new") == target
    assert standing(views(target, "old"), "new") == {}
    goal = Goal()
    goal.take({}, "new")
    assert goal.changes(target, views(target, "new")) == {}
    named: dict[str, tuple[str, ...]] = {"0_1": ("a", "b")}
    assert goal.changes(target, views(target, "old")) == {
        piece_of(TaskId(0, 1)): GoalRecord(shape="new", copies=named)
    }


def test_a_controller_of_other_settings_or_without_a_goal_places_anew() -> None:
    fleet = Fleet("w1", "w2", standbys=1)
    assert fleet.told.settings == "standby_replicas=1 zone_policy=strict"
    fleet.replace_controller()
    assert fleet.state.plan.target.keys() == TASKS
    policy, fleet.work = fleet.work.policy, Fleet("x").work
    assert policy != fleet.work.policy
    fleet.replace_controller()
    assert fleet.state.plan.target == {}
    fleet.settle()
    assert [fleet.has(worker)[1] for worker in ("w1", "w2")] == [0, 0]


def test_a_worker_that_dies_and_comes_back_finds_its_copies_under_a_new_controller() -> None:
    fleet = Fleet("w1", "w2", "w3", standbys=1)
    before = {worker: fleet.placed(worker) for worker in fleet.alive}
    fleet.die("w3")
    fleet.turn()
    fleet.replace_controller()
    fleet.settle()
    fleet.start("w3")
    fleet.settle()
    assert {worker: fleet.placed(worker) for worker in fleet.alive} == before


def test_a_copy_that_is_one_too_many_goes_also_when_its_worker_was_fenced_meanwhile() -> None:
    fleet = Fleet("w1", "w2", standbys=1)
    fleet.lag = 500
    fleet.start("w3")
    fleet.settle()
    target = dict(fleet.state.plan.target)
    fleet.lags = {"w3": 0}  # It takes over, and the copy that is to stay is not warm any more.
    fleet.settle()
    extra = {
        task
        for task, copies in target.items()
        if str(task) in fleet.log["w1"].standbys and "w1" not in copies.workers
    }
    assert extra
    # Its end takes it out of account; then it is given the same again.
    fleet.hear(Fenced("w1", frozenset({Incarnation(fleet.session("w1"))})))
    assert fleet.log["w1"].ended
    fleet.start("w1")
    fleet.settle()
    assert {str(task) for task in extra} <= set(fleet.log["w1"].standbys)
    fleet.replace_controller()
    assert all(is_same(fleet.state.plan.target[task], copies) for task, copies in target.items())


def test_whoever_was_waited_for_is_given_up_by_the_next_controller() -> None:
    """Also where its place is named nowhere: others were placed beside it."""
    fleet = Fleet("w1", "w2", "w3")
    fleet.leave("w3")
    fleet.settle()
    assert fleet.told.away == ("w3",)
    fleet.now_ms += DELAY_MS
    fleet.replace_controller()
    fleet.settle()
    assert (fleet.told.away, fleet.told.why) == ((), "w3 given up")
