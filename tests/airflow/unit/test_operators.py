"""Operators, with a context and an application on the in-memory broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)

from streamer.errors import TopologyError
from streamer_airflow.deadlines import deadline
from streamer_airflow.links import OperationLink
from streamer_airflow.operators.failures import translated
from streamer_airflow.operators.operation import OperationOperator, PlanOperator
from streamer_airflow.operators.rebalance import RebalanceOperator
from streamer_airflow.operators.settle import CancelOperator
from streamer_airflow.operators.snapshots import units_of
from streamer_airflow.operators.targets import TargetsOperator
from streamer_airflow.triggers.operation import OperationTrigger
from tests.airflow.unit.rig import (
    NAME,
    Rig,
    context,
    fails,
    late_by,
    operate,
    planned,
    settle,
)


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


def test_a_number_of_tasks_that_cannot_be_is_not_tried_again() -> None:
    with (
        pytest.raises(AirflowFailException, match="5 tasks do not divide 4\nhint: 1, 2 or 4"),
        translated(),
    ):
        raise TopologyError("5 tasks do not divide 4", hint="1, 2 or 4")


def test_an_operation_is_done_once_by_all_tries_and_doubles(rig: Rig) -> None:
    place = planned("a")
    said = [operate().execute(place) for _ in range(3)]
    assert {one["state"] for one in said} == {"done"}
    record = rig.warehouse.executor().books().operation(NAME)
    assert (record.epoch, rig.warehouse.shelf.boxes) == (1, {"a": NAME})


def test_a_failed_one_is_tried_again_and_resumed(rig: Rig) -> None:
    place = planned("a")
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException, match=r"lift is broken\nhint: .*resume") as failed:
        operate().execute(place)
    assert not isinstance(failed.value, AirflowFailException)
    rig.warehouse.shelf.inside = lambda _box: None
    assert operate().execute(place)["state"] == "done"


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
    approved = [{"operation": name, "plan_id": plan_id}]
    with pytest.raises(
        AirflowFailException,
        match=r"seen\.room: 9 \(was 10\)\nhint: nothing was changed: .*clear the run from its fi",
    ):
        operate(approved=approved).execute(context(boxes=["a"]))
    assert rig.warehouse.executor().books().operations == {}
    # Cleared alone it finds no plan, and says the same; from the first task on it plans again.
    with pytest.raises(AirflowFailException, match=r"was taken out\nhint: clear the run from its"):
        operate(approved=approved).execute(context(boxes=["a"]))
    assert operate().execute(planned("a"))["state"] == "done"


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
    place, name = planned("a"), NAME

    def meanwhile(_box: str) -> None:
        # Inside the step of the first one, a doubled task comes along.
        rig.warehouse.shelf.inside = lambda _box: None
        with pytest.raises(TaskDeferred) as deferred:
            operate(patience_s=0.02).execute(place)
        trigger = deferred.value.trigger
        assert isinstance(trigger, OperationTrigger)
        assert trigger.serialize()[1]["operation"] == name
        assert trigger.conductor == "Airflow, DAG dag, run run"
        assert deferred.value.method_name == "execute_complete"
        assert deferred.value.timeout is not None, "whoever drives may be lost"

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
    place, operator = planned("a", "b"), operate()
    rig.warehouse.shelf.inside = lambda _box: operator.on_kill()
    with pytest.raises(AirflowException, match="the next try goes on with it"):
        operator.execute(place)
    assert rig.warehouse.executor().books().operation(NAME).state == "paused"
    rig.warehouse.shelf.inside = lambda _box: None
    assert operate().execute(place)["state"] == "done"


def waits_until_stopped(driven: list[OperationOperator]) -> Callable[[str], None]:
    def wait(_box: str) -> None:
        driver = driven[-1]._driver
        assert driver is not None
        assert driver.stopping.wait(240)

    return wait


def test_after_its_time_it_fails_for_good_and_says_what_it_waits_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_by(monkeypatch, rig)
    place, driven = planned("a"), [operate()]
    place["params"]["work_hours"] = 0.1
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException, match="lift is broken"):
        driven[-1].execute(place)
    # The next try has what is left, and not the time once more.
    late_by(monkeypatch, rig, minutes=6)
    rig.warehouse.shelf.inside = waits_until_stopped(driven)
    driven.append(operate())
    with pytest.raises(
        AirflowFailException,
        match=rf"{NAME} is not done after 6 min 0 s: step 1 of 2 a: .*\nhint: see to what",
    ):
        driven[-1].execute(place)
    assert rig.warehouse.executor().books().operation(NAME).state == "paused"
    # So the teardown runs, and nobody after it is held up.
    rig.warehouse.shelf.inside = lambda _box: None
    assert settle() == [f"operation {NAME} is cancelled: what it did is taken back"]

    # Who clears the run gives it the time once more; three times what is expected at the least.
    began = datetime.fromtimestamp(rig.warehouse.clock.now_ms() / 1000, tz=UTC)
    record = rig.warehouse.executor().books().operation(NAME)
    place["dag_run"] = SimpleNamespace(start_date=began)
    until = deadline(place, record.started_ms, hours="work_hours", estimate_s=900)
    assert until.until_ms == rig.warehouse.clock.now_ms() + 2_700_000


def test_what_was_done_while_airflow_was_away_is_seen_though_its_time_is_over(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_by(monkeypatch, rig)
    place = planned("a")
    place["params"]["work_hours"] = 0.5
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException):
        operate().execute(place)
    rig.warehouse.shelf.boxes["a"] = "done by somebody"
    late_by(monkeypatch, rig, hours=1)
    monkeypatch.setattr("streamer_airflow.deadlines.LOOK_S", 60.0)
    assert operate().execute(place)["state"] == "done"


def test_a_trigger_that_was_late_is_looked_after(rig: Rig) -> None:
    place = planned("a")
    event = {"operation": NAME, "plan_id": "", "state": "late"}
    with pytest.raises(AirflowFailException, match="is not done after 12 h 0 min"):
        operate().execute_complete(place, event)
    rig.warehouse.executor().start(NAME)
    assert operate().execute_complete(place, event)["state"] == "done"


def test_an_operation_whose_record_is_not_kept_any_more_is_done_if_the_trigger_said_so(
    rig: Rig,
) -> None:
    event = {"operation": NAME, "plan_id": "ab", "state": "done"}
    said = operate().execute_complete(context(boxes=["a"]), event)
    assert said == {"operation": NAME, "plan_id": "ab", "state": "done"}
    with pytest.raises(AirflowFailException, match="there is no operation"):
        operate().execute_complete(context(boxes=["a"]), event | {"state": "left"})


def test_what_a_person_cancelled_is_not_planned_anew_by_a_later_stage(rig: Rig) -> None:
    place = planned("a")
    rig.warehouse.executor().cancel(NAME, why="not today")
    for _ in range(2):
        with pytest.raises(
            AirflowFailException, match=rf"{NAME} was cancelled: cancelled before .*\nhint: clear"
        ):
            operate().execute(place)
    assert rig.warehouse.shelf.brought == {}
    # Nor after it had begun, by the next try of the same task.
    place = planned("a")
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException, match="lift is broken"):
        operate().execute(place)
    rig.warehouse.shelf.inside = lambda _box: None
    rig.warehouse.executor().cancel(NAME)
    with pytest.raises(AirflowFailException, match="was cancelled"):
        operate().execute(place)
    assert set(rig.warehouse.executor().books().operations) == {NAME}
    with pytest.raises(AirflowFailException, match=r"has no plan.*\nhint: clear the run from its"):
        operate().execute(context("another run", boxes=["a"]))


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


def test_what_the_form_does_not_have_is_refused_with_the_nearest_that_it_has() -> None:
    dag = SimpleNamespace(dag_id="trim_changelogs", params={"approval": "ask", "stores": []})
    place = context()
    place |= {"dag": dag, "dag_run": SimpleNamespace(conf={"aproval": "ask", "stores": ["totals"]})}
    with pytest.raises(AirflowFailException, match="has no aproval") as refused:
        operate().pre_execute(place)
    assert "aproval: is it approval?" in str(refused.value)
    place["dag_run"].conf = {"stores": ["totals"]}
    operate().pre_execute(place)
    place["dag_run"].conf = None
    operate().pre_execute(place)
