"""Operators, with a context and an application on the in-memory broker."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)

from streamer.control.operations import OperationRecord
from streamer.operations.executor import Executor
from streamer_airflow.links import OperationLink
from streamer_airflow.operators.operation import OperationOperator, PlanOperator
from streamer_airflow.operators.rebalance import RebalanceOperator
from streamer_airflow.operators.settle import CancelOperator, SettleOperator
from streamer_airflow.operators.snapshots import units_of
from streamer_airflow.operators.targets import TargetsOperator
from streamer_airflow.runs import Asked
from streamer_airflow.triggers.operation import OperationTrigger
from tests.airflow.unit.rig import Rig, context

NAME = Asked("shelve", "dag", "run").operation()


def operate(**given: Any) -> OperationOperator:
    return OperationOperator(task_id="task", kind="shelve", takes=("boxes",), **given)


def fails(_box: str) -> None:
    raise OSError("the lift is broken")


def test_a_plan_is_written_down_and_told_by_its_name(rig: Rig) -> None:
    place = context(boxes=["a", "b"])
    said = PlanOperator(task_id="task", kind="shelve", takes=("boxes",)).execute(place)
    record = rig.warehouse.executor().books().operation(NAME)
    assert said == {"operation": NAME, "plan_id": record.plan_id, "state": "planned"}
    assert place["ti"].pushed == {
        OperationLink().xcom_key: f"/streamer/?connection=streamer_default#operation={NAME}"
    }


def test_nothing_to_plan_skips_the_rest(rig: Rig) -> None:
    with pytest.raises(AirflowSkipException):
        PlanOperator(task_id="task", kind="shelve", takes=("boxes",)).execute(context(boxes=[]))


def test_a_refusal_fails_at_once_with_its_hint(rig: Rig) -> None:
    operator = PlanOperator(task_id="task", kind="shelve", takes=("boxes",))
    with pytest.raises(AirflowFailException, match="too small\nhint: bring fewer boxes"):
        operator.execute(context(boxes=list("abcdefghijklm")))
    assert rig.warehouse.executor().books().operations == {}


def test_an_operation_is_done_once_by_all_tries_and_doubles(rig: Rig) -> None:
    said = [operate().execute(context(boxes=["a"])) for _ in range(3)]
    assert {one["state"] for one in said} == {"done"}
    record = rig.warehouse.executor().books().operation(NAME)
    assert (record.epoch, rig.warehouse.shelf.boxes) == (1, {"a": NAME})


def test_a_failed_one_is_tried_again_and_resumed(rig: Rig) -> None:
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException, match=r"lift is broken\nhint: .*resume") as failed:
        operate().execute(context(boxes=["a"]))
    assert not isinstance(failed.value, AirflowFailException)
    rig.warehouse.shelf.inside = lambda _box: None
    assert operate().execute(context(boxes=["a"]))["state"] == "done"


def test_what_was_approved_is_carried_out_and_nothing_else(rig: Rig) -> None:
    name = rig.warehouse.planned("a")
    plan_id = rig.warehouse.executor().books().operation(name).plan_id
    approved = [{"operation": name, "plan_id": plan_id}]
    assert operate(approved=approved).execute(context(boxes=["z"]))["operation"] == name
    assert rig.warehouse.shelf.boxes == {"a": name}


def test_another_plan_than_was_approved_is_refused_and_taken_out(rig: Rig) -> None:
    name = rig.warehouse.planned("a")
    approved = [{"operation": name, "plan_id": "0" * 64}]
    with pytest.raises(AirflowFailException, match="000000000000 was approved"):
        operate(approved=approved).execute(context(boxes=["a"]))
    assert rig.warehouse.shelf.boxes == {}
    assert rig.warehouse.executor().books().operations == {}


def test_a_moved_world_is_refused_after_the_approval(rig: Rig) -> None:
    name = rig.warehouse.planned("a")
    plan_id = rig.warehouse.executor().books().operation(name).plan_id
    rig.warehouse.shelf.room = 9
    with pytest.raises(AirflowFailException, match=r"seen\.room: 9 \(was 10\)"):
        operate(approved=[{"operation": name, "plan_id": plan_id}]).execute(context(boxes=["a"]))
    assert rig.warehouse.executor().books().operations == {}


@pytest.mark.parametrize("approved", [[], [{}], {"plan_id": "x"}, [None]])
def test_an_approval_that_approved_nothing_starts_nothing(rig: Rig, approved: Any) -> None:
    with pytest.raises(AirflowFailException, match="no plan was approved"):
        operate(approved=approved).execute(context(boxes=["a"]))


def test_an_approval_that_was_marked_by_hand_starts_nothing(rig: Rig) -> None:
    operator = operate(approved="what the approval returns")
    operator.approved = None
    with pytest.raises(AirflowFailException, match="no plan was approved"):
        operator.execute(context(boxes=["a"]))
    assert rig.warehouse.executor().books().operations == {}


def test_it_waits_without_a_slot_while_another_process_is_at_work(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.operations.executor._LOOK_S", 0.01)
    name = Asked("shelve", "dag", "run").operation()
    rig.warehouse.executor().propose("shelve", {"boxes": ["a"]}, operation=name)

    def meanwhile(_box: str) -> None:
        # Inside the step of the first one, a doubled task comes along.
        rig.warehouse.shelf.inside = lambda _box: None
        with pytest.raises(TaskDeferred) as deferred:
            operate(patience_s=0.02).execute(context(boxes=["a"]))
        trigger = deferred.value.trigger
        assert isinstance(trigger, OperationTrigger)
        assert trigger.serialize()[1]["operation"] == name
        assert deferred.value.method_name == "execute_complete"

    rig.warehouse.shelf.inside = meanwhile
    assert rig.warehouse.executor().start(name).epoch == 1


def test_an_event_is_looked_at_and_not_believed(rig: Rig) -> None:
    name = rig.warehouse.planned("a")
    rig.warehouse.executor().start(name)
    event = {"operation": name, "state": "failed"}
    assert operate().execute_complete(context(boxes=["a"]), event)["state"] == "done"
    with pytest.raises(AirflowException, match="brokers are away"):
        operate().execute_complete(context(boxes=["a"]), event | {"error": "brokers are away"})
    with pytest.raises(AirflowFailException, match="held by"):
        operate().execute_complete(context(boxes=["a"]), event | {"refused": "held by"})


def test_a_killed_task_leaves_it_in_order(rig: Rig) -> None:
    operator = operate()
    rig.warehouse.shelf.inside = lambda _box: operator.on_kill()
    with pytest.raises(AirflowException, match="the next try goes on with it"):
        operator.execute(context(boxes=["a", "b"]))
    assert rig.warehouse.executor().books().operation(NAME).state == "paused"
    rig.warehouse.shelf.inside = lambda _box: None
    assert operate().execute(context(boxes=["a", "b"]))["state"] == "done"


def settle() -> Any:
    return SettleOperator(task_id="settle", kind="shelve").execute(context())


def test_settling_goes_by_the_record(rig: Rig) -> None:
    assert settle() == []
    PlanOperator(task_id="task", kind="shelve", takes=("boxes",)).execute(context(boxes=["a"]))
    assert settle() == [f"the plan of operation {NAME} is taken out"]
    assert rig.warehouse.executor().books().operations == {}

    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException):
        operate().execute(context(boxes=["a"]))
    rig.warehouse.shelf.inside = lambda _box: None
    assert settle() == [f"operation {NAME} is cancelled: what it did is taken back"]
    assert rig.warehouse.shelf.boxes == {}
    assert settle() == []

    done = operate().execute(context(boxes=["a"]))
    assert done["operation"] == Asked("shelve", "dag", "run").operation(2)
    assert settle() == [f"operation {done['operation']} is done"]


def test_all_stages_are_settled_whichever_cannot_be(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = [{"stage": name} for name in ("a", "b", "c")]
    names = [Asked("shelve", "dag", "run", stage=one["stage"]).operation() for one in stages]
    for name in names:
        rig.warehouse.executor().propose("shelve", {"boxes": ["a"]}, operation=name)

    def settled(executor: Executor, record: OperationRecord) -> str:
        if record.id == names[0]:
            raise AirflowException("its process hangs")
        executor.withdraw(record.id)
        return record.id

    monkeypatch.setattr("streamer_airflow.operators.settle._settled", settled)
    operator = SettleOperator(task_id="settle", kind="shelve", stages=stages)
    with pytest.raises(AirflowException, match="its process hangs"):
        operator.execute(context())
    assert rig.warehouse.executor().books().operations.keys() == {names[0]}


def test_an_operation_is_cancelled_by_its_name(rig: Rig) -> None:
    name = rig.warehouse.planned("a")
    operator = CancelOperator(task_id="cancel")
    assert operator.execute(context(operation=name, why="wrong day")).endswith("is cancelled")
    assert operator.execute(context(operation=name, why="wrong day")).endswith("is cancelled")
    with pytest.raises(AirflowFailException, match="there is no operation 'nothing'"):
        operator.execute(context(operation="nothing", why=""))


def test_a_done_one_cannot_be_cancelled(rig: Rig) -> None:
    name = rig.warehouse.planned("a")
    rig.warehouse.executor().start(name)
    with pytest.raises(AirflowFailException, match="cannot be cancelled: it is done"):
        CancelOperator(task_id="cancel").execute(context(operation=name, why=""))


def test_targets_are_a_unit_for_each_task() -> None:
    operator = TargetsOperator(task_id="targets")
    assert operator.execute(context(tasks=["0_3", "0_1", "0_3"])) == [
        {"task": "0_1", "stage": "0_1"},
        {"task": "0_3", "stage": "0_3"},
    ]
    with pytest.raises(AirflowFailException, match="no task is named"):
        operator.execute(context(tasks=[]))


def test_units_hold_every_task_once() -> None:
    tasks = [f"{number % 3}_{number}" for number in range(100)]
    units = units_of(tasks, 32)
    assert len(units) == 32
    assert sorted(task for unit in units for task in unit["tasks"]) == sorted(tasks)
    assert {len(unit["tasks"]) for unit in units} == {3, 4}
    assert [unit["name"] for unit in units_of(["0_10", "0_9"])] == ["0_9", "0_10"]
    assert units[0]["name"] == "0_0 and 3 more"


@pytest.mark.parametrize("approved", [None, [], [{}]])
def test_a_rebalance_that_nobody_approved_moves_nothing(approved: Any) -> None:
    operator = RebalanceOperator(task_id="apply", approved="what the approval returns")
    operator.approved = approved
    with pytest.raises(AirflowFailException, match="no placement was approved"):
        operator.execute(context(moves_hours=1))
