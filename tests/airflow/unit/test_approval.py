"""An approval is bound to the plan that was shown."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskAwaitingInput,
)

from streamer.control.plans import Cost
from streamer_airflow.links import OperationLink
from streamer_airflow.operators.approval import OperationApproval
from tests.airflow.unit.rig import Rig, answer, context

FORM = {"approval": "automatic", "answer_hours": 12, "bytes_max": 100, "beyond_cap": False}


def approval(**given: Any) -> OperationApproval:
    return OperationApproval(
        task_id="approve",
        kind="shelve",
        takes=("boxes",),
        limits={"bytes_max": "trim_bytes_max"},
        asks=("beyond_cap",),
        command="streamer trim apply {id} --app {application}",
        **given,
    )


def form(*boxes: str, **given: Any) -> Any:
    return context(**{**FORM, "boxes": list(boxes), **given})


def shown(rig: Rig, questions: list[Any], place: Any) -> Any:
    with pytest.raises(TaskAwaitingInput) as parked:
        approval().execute(place)
    assert parked.value.method_name == "execute_complete"
    assert parked.value.kwargs is not None
    return parked.value.kwargs["shown"]


def test_within_its_limits_nobody_is_asked(rig: Rig, questions: list[Any]) -> None:
    said = approval().execute(form("a"))
    assert [one["state"] for one in said] == ["planned"]
    assert questions == []


@pytest.mark.parametrize("given", [{"approval": "ask"}, {"bytes_max": 1}])
def test_beyond_them_or_if_the_form_says_so_somebody_is(
    rig: Rig, questions: list[Any], given: dict[str, Any]
) -> None:
    found = shown(rig, questions, form("a", **given))
    [asked] = questions
    record = rig.warehouse.executor().books().operation(found[0]["operation"])
    assert asked["defaults"] == ["Reject"]
    assert asked["subject"] == "shelve of app"
    body = asked["body"]
    for text in (
        f"`{record.plan_id[:12]}`",
        "| Bytes | about 2 B |",
        "about 1 min 15 s",
        "**Cannot be undone**, from step `label` on:",
        "- a label cannot be taken off",
        "1. `a`: put a on the shelf",
        f"streamer trim apply {record.id} --app app",
    ):
        assert text in body
    assert ("Asked since 2 bytes go, and 1 go without a person." in body) == ("bytes_max" in given)


@pytest.mark.parametrize("option", ["TRIM_BYTES_MAX", "TRIM_BYTES_MAX__STREAMER_DEFAULT"])
def test_a_form_only_lowers_what_the_deployment_allows(
    rig: Rig, questions: list[Any], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW__STREAMER__{option}", "1")
    shown(rig, questions, form("a", bytes_max=1 << 50))
    body = questions[0]["body"]
    assert "Asked since 2 bytes go, and 1 go without a person." in body
    assert "Goes alone: up to 1 B, by `[streamer] trim_bytes_max`." in body


def test_the_limit_of_another_connection_is_not_this_ones(
    rig: Rig, questions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__STREAMER__TRIM_BYTES_MAX__OTHER", "1")
    assert approval().execute(form("a"))
    assert questions == []


def test_a_lower_limit_of_the_form_is_shown_as_its_own(rig: Rig, questions: list[Any]) -> None:
    shown(rig, questions, form("a", bytes_max=1))
    assert "Goes alone: up to 1 B, by the form." in questions[0]["body"]


def test_what_a_setting_would_not_let_go_always_needs_a_person(
    rig: Rig, questions: list[Any]
) -> None:
    shown(rig, questions, form("a", beyond_cap=True))
    assert "Asked since the form says beyond_cap." in questions[0]["body"]


def test_what_could_not_be_weighed_does_not_go_without_a_person(
    rig: Rig, questions: list[Any]
) -> None:
    rig.warehouse.shelf.cost = Cost(records=5)
    shown(rig, questions, form("a"))
    assert "Asked since it is not known how many bytes go." in questions[0]["body"]


def test_nothing_to_do_skips(rig: Rig, questions: list[Any]) -> None:
    with pytest.raises(AirflowSkipException):
        approval().execute(form())


def test_approved_is_what_was_shown(rig: Rig, questions: list[Any]) -> None:
    place = form("a", approval="ask")
    found = shown(rig, questions, place)
    said = approval().execute_complete(place, answer("Approve"), shown=found)
    assert said == [{**found[0], "approved_by": "ann"}]


def test_the_button_leads_to_the_operation_after_the_answer_too(
    rig: Rig, questions: list[Any]
) -> None:
    place = form("a", approval="ask")
    found = shown(rig, questions, place)
    operator = approval()
    operator.execute_complete(place, answer("Approve"), shown=found)
    link = OperationLink().get_link(operator, ti_key=place["ti"])
    assert link.endswith(f"#operation={found[0]['operation']}")


def test_what_was_cancelled_while_it_was_asked_for_is_not_approved(
    rig: Rig, questions: list[Any]
) -> None:
    place = form("a", approval="ask")
    found = shown(rig, questions, place)
    rig.warehouse.executor().cancel(found[0]["operation"], why="not today")
    with pytest.raises(AirflowException, match="was cancelled"):
        approval().execute_complete(place, answer("Approve"), shown=found)


@pytest.mark.parametrize("by", ["ann", ""])
def test_rejected_or_unanswered_leaves_nothing_and_fails(
    rig: Rig, questions: list[Any], by: str
) -> None:
    place = form("a", approval="ask")
    found = shown(rig, questions, place)
    who = "rejected by ann" if by else "nobody answered in time"
    with pytest.raises(AirflowFailException, match=who):
        approval().execute_complete(place, answer("Reject", by), shown=found)
    assert rig.warehouse.executor().books().operations == {}


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_rejection_that_comes_after_somebody_has_begun_says_so(
    rig: Rig, questions: list[Any], has_ended: bool
) -> None:
    place = form("a", approval="ask")
    found = shown(rig, questions, place)
    name = found[0]["operation"]

    def fails(_box: str) -> None:
        raise OSError("the lift is broken")

    rig.warehouse.shelf.inside = (lambda _box: None) if has_ended else fails
    rig.warehouse.executor(conductor="bob@host").start(name)
    with pytest.raises(AirflowFailException) as rejected:
        approval().execute_complete(place, answer("Reject"), shown=found)
    said = str(rejected.value)
    state = "done" if has_ended else "failed"
    assert f"but operation {name} had begun before that for bob@host, and is {state}" in said
    assert "nothing was changed" not in said
    assert (f"streamer operations cancel {name}" in said) != has_ended
    assert rig.warehouse.executor().books().operation(name).state == state


def test_a_world_that_has_moved_is_planned_anew_and_asked_again(
    rig: Rig, questions: list[Any]
) -> None:
    place = form("a", approval="ask")
    found = shown(rig, questions, place)
    rig.warehouse.shelf.room = 9
    with pytest.raises(AirflowException, match="planned anew") as moved:
        approval().execute_complete(place, answer("Approve"), shown=found)
    assert not isinstance(moved.value, AirflowFailException), "the next try asks again"
    again = shown(rig, questions, place)
    assert again[0]["plan_id"] != found[0]["plan_id"]
    assert questions[1]["body"] != questions[0]["body"]
    assert approval().execute_complete(place, answer("Approve"), shown=again)


def test_what_somebody_else_has_begun_meanwhile_is_not_asked_for_again(
    rig: Rig, questions: list[Any]
) -> None:
    place = form("a", approval="ask")
    found = shown(rig, questions, place)
    rig.warehouse.executor().start(found[0]["operation"])
    assert approval().execute_complete(place, answer("Approve"), shown=found)
    again = form("a", approval="ask", bytes_max=0)
    assert [one["state"] for one in approval().execute(again)] == ["done"]


def test_a_plan_that_was_taken_out_is_not_approved(rig: Rig, questions: list[Any]) -> None:
    place = form("a", approval="ask")
    found = shown(rig, questions, place)
    rig.warehouse.executor().withdraw(found[0]["operation"])
    with pytest.raises(AirflowException, match="was taken out"):
        approval().execute_complete(place, answer("Approve"), shown=found)


def test_several_stages_are_one_question(rig: Rig, questions: list[Any]) -> None:
    stages = [{"stage": "0_1", "boxes": ["a"]}, {"stage": "0_2", "boxes": ["b"]}]
    with pytest.raises(TaskAwaitingInput) as parked:
        approval(stages=stages).execute(form("z", approval="ask"))
    assert parked.value.kwargs is not None
    found = parked.value.kwargs["shown"]
    assert len({one["operation"] for one in found}) == 2
    assert questions[0]["body"].count("**Cannot be undone**") == 2
