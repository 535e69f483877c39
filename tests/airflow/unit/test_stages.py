"""An operation in several tasks: each does its own steps, and a person is asked before the last."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    TaskAwaitingInput,
    TaskDeferred,
)

from streamer import failpoints
from streamer_airflow.operators.approval import OperationApproval
from streamer_airflow.operators.operation import PlanOperator
from streamer_airflow.operators.settle import CancelOperator, SettleOperator
from streamer_airflow.operators.stages import StageOperator, SwitchApproval
from streamer_airflow.triggers.operation import OperationTrigger
from tests.airflow.unit.rig import NAME, Rig, answer, context, fails, late_by, planned, settle

FORM = {"boxes": ["a", "b"], "answer_hours": 12, "work_hours": 1}


def approved(rig: Rig) -> Any:
    """What the approval of the plan has returned."""
    planned("a", "b")
    record = rig.warehouse.executor().books().operation(NAME)
    return [{"operation": NAME, "plan_id": record.plan_id, "approved_by": "ann"}]


def stage(one: Any, *steps: str, **given: Any) -> StageOperator:
    return StageOperator(task_id="task", kind="shelve", steps=steps, approved=one, **given)


def asks(one: Any) -> SwitchApproval:
    return SwitchApproval(
        task_id="approve_switch",
        approved=one,
        step="label",
        command="streamer repartition apply {id} --app {application}",
    )


def shown(one: Any) -> Any:
    with pytest.raises(TaskAwaitingInput) as parked:
        asks(one).execute(context(**FORM))
    assert parked.value.kwargs is not None
    return parked.value.kwargs["shown"]


def test_each_does_its_own_steps_and_finds_them_done(rig: Rig) -> None:
    one = approved(rig)
    for steps, state, boxes in (
        (("a",), "paused", {"a"}),
        (("b",), "paused", {"a", "b"}),
        # Cleared, the first one has nothing to do.
        (("a",), "paused", {"a", "b"}),
        (("label",), "done", {"a", "b"}),
        (("b",), "done", {"a", "b"}),
    ):
        said = stage(one, *steps).execute(context(**FORM))
        assert said == {"operation": NAME, "plan_id": one[0]["plan_id"], "state": state}
        assert set(rig.warehouse.shelf.boxes) == boxes
    record = rig.warehouse.executor().books().operation(NAME)
    assert (record.epoch, [step.begun for step in record.steps]) == (3, [1, 1, 1])


def test_a_stage_that_fails_is_tried_again_and_taken_back_in_the_end(rig: Rig) -> None:
    one = approved(rig)
    stage(one, "a").execute(context(**FORM))
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException, match="the lift is broken") as failed:
        stage(one, "b").execute(context(**FORM))
    assert not isinstance(failed.value, AirflowFailException), "the next try goes on with it"
    rig.warehouse.shelf.inside = lambda _box: None
    assert settle() == [f"operation {NAME} is cancelled: what it did is taken back"]
    assert rig.warehouse.shelf.end() == ({}, {}, [])
    with pytest.raises(AirflowFailException, match=r"is cancelled.*\nhint: clear the run from its"):
        stage(one, "a").execute(context(**FORM))


def test_only_the_time_of_its_own_steps_counts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A night between two stages is a person's."""
    one = approved(rig)
    late_by(monkeypatch, rig)
    stage(one, "a").execute(context(**FORM))
    late_by(monkeypatch, rig, hours=12)
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException, match="the lift is broken"):
        stage(one, "b").execute(context(**FORM))
    late_by(monkeypatch, rig, hours=2)
    record = rig.warehouse.executor().books().operation(NAME)
    until = stage(one, "b")._deadline(context(**FORM), record)
    assert until.is_over
    assert until.until_ms == rig.warehouse.clock.now_ms() - int(
        timedelta(hours=1) / timedelta(milliseconds=1)
    )
    assert not stage(one, "label")._deadline(context(**FORM), record).is_over


def test_while_another_process_is_at_it_it_waits_without_a_slot_and_works_in_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.operations.executor._LOOK_S", 0.01)
    one = approved(rig)

    def meanwhile(_box: str) -> None:
        rig.warehouse.shelf.inside = lambda _box: None
        with pytest.raises(TaskDeferred) as deferred:
            stage(one, "a", patience_s=0.02).execute(context(**FORM))
        trigger = deferred.value.trigger
        assert isinstance(trigger, OperationTrigger)
        assert trigger.until == "a"

    rig.warehouse.shelf.inside = meanwhile
    rig.warehouse.executor().start(NAME, until="a")
    # The trigger found nobody at it: the task goes on with what is left of its stage.
    event = {"operation": NAME, "plan_id": one[0]["plan_id"], "state": "left"}
    assert stage(one, "a").execute_complete(context(**FORM), event)["state"] == "paused"
    assert stage(one, "b").execute_complete(context(**FORM), event)["state"] == "paused"
    assert rig.warehouse.shelf.labels() == []


def test_the_question_before_the_last_step_shows_what_was_done_and_what_is_lost(
    rig: Rig, questions: list[Any]
) -> None:
    one = approved(rig)
    stage(one, "a", "b").execute(context(**FORM))
    found = shown(one)
    [asked] = questions
    assert (asked["subject"], asked["defaults"]) == ("label of app", ["Reject"])
    for text in (
        "### label: label the shelf",
        f"Operation `{NAME}` of app, plan `{one[0]['plan_id'][:12]}`.",
        "- `a`: a stands on the shelf",
        "- `b`: b stands on the shelf",
        "**Cannot be undone**, from step `label` on:",
        "- a label cannot be taken off",
        f"streamer repartition apply {NAME} --app app",
    ):
        assert text in asked["body"]
    assert "`label`: waiting" not in asked["body"]
    said = asks(one).execute_complete(context(**FORM), answer("Approve"), shown=found)
    assert (said[0]["operation"], said[0]["approved_by"]) == (NAME, "ann")
    assert stage(said, "label").execute(context(**FORM))["state"] == "done"


@pytest.mark.parametrize("by", ["ann", ""])
def test_a_rejection_before_the_last_step_has_all_taken_back(
    rig: Rig, questions: list[Any], by: str
) -> None:
    one = approved(rig)
    stage(one, "a", "b").execute(context(**FORM))
    found = shown(one)
    with pytest.raises(
        AirflowFailException, match=r"rejected.*; nothing was switched, and what was made by then"
    ):
        asks(one).execute_complete(context(**FORM), answer("Reject", by), shown=found)
    assert settle() == [f"operation {NAME} is cancelled: what it did is taken back"]
    assert rig.warehouse.shelf.end() == ({}, {}, [])


def test_a_rejection_that_comes_after_the_last_step_says_so(rig: Rig, questions: list[Any]) -> None:
    one = approved(rig)
    stage(one, "a", "b").execute(context(**FORM))
    found = shown(one)
    rig.warehouse.executor(conductor="bob@host").resume(NAME)
    with pytest.raises(AirflowFailException, match=r"but it was made before that, and .* is done"):
        asks(one).execute_complete(context(**FORM), answer("Reject"), shown=found)
    # Nobody is asked about what is done.
    assert asks(one).execute(context(**FORM))[0]["state"] == "done"
    assert len(questions) == 1


def test_what_is_cancelled_while_it_is_asked_for_is_not_approved(
    rig: Rig, questions: list[Any]
) -> None:
    one = approved(rig)
    stage(one, "a", "b").execute(context(**FORM))
    found = shown(one)
    CancelOperator(task_id="cancel").execute(context(operation=NAME, why="not today"))
    for chosen in ("Approve", "Reject"):
        with pytest.raises(AirflowFailException, match=r"is cancelled: .*\nhint: clear the run"):
            asks(one).execute_complete(context(**FORM), answer(chosen), shown=found)
    with pytest.raises(AirflowFailException, match=r"is cancelled: .*\nhint: clear the run"):
        asks(one).execute(context(**FORM))


def test_a_stage_of_what_was_cancelled_says_who_wanted_it(rig: Rig) -> None:
    """As by the DAG `cancel_operation` between two stages."""
    one = approved(rig)
    stage(one, "a").execute(context(**FORM))
    other = context(run="other", operation=NAME, why="not today")
    CancelOperator(task_id="cancel").execute(other)
    assert rig.warehouse.shelf.end() == ({}, {}, [])
    said = (
        r"is cancelled: wanted by .*: Airflow, DAG dag, run other: not today\nhint: clear the run"
    )
    with pytest.raises(AirflowFailException, match=said):
        stage(one, "b").execute(context(**FORM))
    with pytest.raises(AirflowFailException, match=said):
        asks(one).execute(context(**FORM))
    assert settle() == [f"operation {NAME} is cancelled"]


def test_a_stage_that_is_cancelled_while_it_works_ends_with_who_wanted_it(rig: Rig) -> None:
    one = approved(rig)
    stage(one, "a").execute(context(**FORM))

    def meanwhile(box: str) -> None:
        rig.warehouse.shelf.inside = lambda _box: None
        assert box == "b"
        # Only asked for: whoever is at work takes it back.
        rig.warehouse.executor().cancel(NAME, why="not today")
        rig.warehouse.clock.advance(2_000)

    rig.warehouse.shelf.inside = meanwhile
    with pytest.raises(AirflowFailException, match=r"is cancelled: wanted by .*: not today"):
        stage(one, "b", "label").execute(context(**FORM))
    assert rig.warehouse.shelf.end() == ({}, {}, [])


def test_who_was_killed_right_behind_the_last_step_is_not_asked_about_it(
    rig: Rig, questions: list[Any]
) -> None:
    """It was made, though its end was not noted."""
    one = approved(rig)
    stage(one, "a", "b").execute(context(**FORM))
    found = shown(one)
    with failpoints.armed("operations.after_step", "error"), pytest.raises(AirflowException):
        stage(one, "label").execute(context(**FORM))
    label = rig.warehouse.executor().books().operation(NAME).steps[-1]
    assert (label.begun, label.state) == (1, "running")
    assert asks(one).execute(context(**FORM))[0]["operation"] == NAME
    assert len(questions) == 1
    # A rejection of the question that stands open by then does not say that nothing was done.
    said = rf"step label was rejected by ann; but it was made before(?s:.*)resume {NAME}; or clear"
    with pytest.raises(AirflowFailException, match=said) as failed:
        asks(one).execute_complete(context(**FORM), answer("Reject"), shown=found)
    assert "nothing was switched" not in str(failed.value)
    [left] = settle()
    assert "is left as it is" in left
    assert f"finish it: streamer operations resume {NAME}" in left
    assert stage(one, "label").execute(context(**FORM))["state"] == "done"


def test_a_rejection_leaves_what_is_in_other_hands(rig: Rig, questions: list[Any]) -> None:
    one = approved(rig)
    stage(one, "a", "b").execute(context(**FORM))
    found = shown(one)
    rig.warehouse.executor(conductor="bob@host").start(NAME, until="b")
    said = rf"in the hands of bob@host, and is left to them\nhint: .* operations cancel {NAME}"
    with pytest.raises(AirflowFailException, match=said):
        asks(one).execute_complete(context(**FORM), answer("Reject"), shown=found)
    assert "left to bob@host" in settle()[0]
    assert set(rig.warehouse.shelf.boxes) == {"a", "b"}


def test_another_run_is_refused_between_the_stages_with_whose_it_is(rig: Rig) -> None:
    one = approved(rig)
    stage(one, "a").execute(context(**FORM))
    other = context(run="other", boxes=["c"])
    said = rf"held by operation {NAME} .*it is paused, for Airflow, DAG dag, run run\nhint: wait"
    with pytest.raises(AirflowFailException, match=said):
        PlanOperator(task_id="plan", kind="shelve", takes=("boxes",)).execute(other)
    assert SettleOperator(task_id="settle", kind="shelve").execute(other) == []
    books = rig.warehouse.executor().books()
    assert books.operations.keys() == {NAME}
    assert books.operation(NAME).state == "paused"


def test_of_two_runs_that_were_approved_at_once_one_is_carried_out(rig: Rig) -> None:
    """As of two connections to one application."""
    one = approved(rig)
    plan = PlanOperator(task_id="plan", kind="shelve", takes=("boxes",))
    two = plan.execute(context(run="other", boxes=["c"]))
    stage(one, "a").execute(context(**FORM))
    said = (
        rf"held by operation {NAME} .*for Airflow, DAG dag, run run\nhint: .*clear the run from its"
    )
    with pytest.raises(AirflowFailException, match=said):
        stage(two, "c").execute(context(run="other", **FORM))
    assert rig.warehouse.executor().books().operations.keys() == {NAME}
    assert stage(one, "b", "label").execute(context(**FORM))["state"] == "done"


def test_nobody_is_asked_before_the_steps_before_are_done(rig: Rig, questions: list[Any]) -> None:
    one = approved(rig)
    stage(one, "a").execute(context(**FORM))
    with pytest.raises(AirflowFailException, match="is paused, and step b is not done"):
        asks(one).execute(context(**FORM))
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException, match="the lift is broken"):
        stage(one, "b").execute(context(**FORM))
    said = "is failed, and step b is not done: OSError: the lift is broken\nhint: clear the tasks"
    with pytest.raises(AirflowFailException, match=said):
        asks(one).execute(context(**FORM))
    for nothing in ([], [{}], None):
        with pytest.raises(AirflowFailException, match="no plan was approved"):
            asks(nothing).execute(context(**FORM))
    assert questions == []


def test_another_plan_than_the_approved_one_is_not_asked_about(
    rig: Rig, questions: list[Any]
) -> None:
    one = approved(rig)
    stage(one, "a", "b").execute(context(**FORM))
    with pytest.raises(AirflowFailException, match="has another plan"):
        asks([{**one[0], "plan_id": "ab"}]).execute(context(**FORM))
    assert questions == []


def test_a_plan_without_a_mode_is_always_asked_for(rig: Rig, questions: list[Any]) -> None:
    approval = OperationApproval(
        task_id="approve", kind="shelve", takes=("boxes",), mode="", note="Twice the room."
    )
    with pytest.raises(TaskAwaitingInput):
        approval.execute(context(**FORM))
    assert questions[0]["body"].endswith("Twice the room.")
