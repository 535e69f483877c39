"""A plan's id is the hash of all that is in it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamer.control.plans import Cost, Plan, PlannedStep, check_plan, differences
from streamer.errors import InvariantError

STEPS = (
    PlannedStep(id="copy", summary="copy it", parameters={"to": 5, "from": [1, 2]}),
    PlannedStep(id="switch", summary="switch"),
)
PLAN = Plan(
    format=1,
    kind="move",
    steps=STEPS,
    cost=Cost(bytes=7),
    no_return="switch",
    lost=("the old one is gone",),
    seen={"end": 640, "workers": {"b": 1, "a": 2}},
)


def changed(**fields: Any) -> Plan:
    return msgspec.structs.replace(PLAN, **fields)


def test_the_id_is_the_same_for_the_same_plan_whatever_the_order_of_its_facts() -> None:
    other = changed(seen={"workers": {"a": 2, "b": 1}, "end": 640})
    assert PLAN.id == other.id
    # Stored: it must not change with the release.
    assert PLAN.id == "ce7de992f67a2a433c0562012444146627a1c2397a83da18b9987c82ae594127"
    read = msgspec.json.decode(msgspec.json.encode(PLAN), type=Plan)
    assert read.id == PLAN.id


@pytest.mark.parametrize(
    "other",
    [
        changed(seen={"end": 641, "workers": {"b": 1, "a": 2}}),
        changed(cost=Cost(bytes=8)),
        changed(scope="task/0_3"),
        changed(no_return=""),
        changed(no_return_when="done"),
        changed(lost=()),
        changed(steps=STEPS[:1], no_return=""),
        changed(steps=STEPS[::-1]),
    ],
)
def test_whatever_is_different_makes_another_id(other: Plan) -> None:
    assert other.id != PLAN.id
    assert differences(PLAN, other)


def test_what_differs_is_told_by_its_path() -> None:
    more = PlannedStep(id="check", summary="check it")
    now = changed(seen={"end": 812, "workers": {"a": 2}}, steps=(more, *STEPS))
    assert differences(PLAN, now) == [
        "seen.end: 812 (was 640)",
        "seen.workers.b: nothing (was 1)",
        "steps.check.id: 'check' (was nothing)",
        "steps.check.summary: 'check it' (was nothing)",
    ]
    assert differences(PLAN, PLAN) == []
    many = changed(seen={f"p{number:02}": 1 for number in range(30)})
    assert differences(PLAN, many)[-1] == "and 23 more"


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (changed(format=2), "has format 2, not 1"),
        (changed(kind="Move it"), "has the scope"),
        (changed(scope="Task 3"), "has the scope 'Task 3'"),
        (changed(steps=(*STEPS, STEPS[0])), "has 3 steps, 2 of them with names of their own"),
        (changed(no_return="nowhere"), "has no step 'nowhere'"),
        (changed(steps=(PlannedStep(id="a b", summary=""),), no_return=""), "names that are none"),
        (changed(seen={"x": "y" * 600_000}), "at most 524,288 fit into its record"),
    ],
)
def test_a_plan_that_no_kind_may_make_is_refused(plan: Plan, problem: str) -> None:
    with pytest.raises(InvariantError) as refused:
        check_plan(plan)
    assert problem in str(refused.value)


def test_a_plan_of_nothing_is_a_plan() -> None:
    check_plan(changed(steps=(), no_return=""))
