"""An operation that is carried out in stages: paused between them, with its lock."""

from __future__ import annotations

import pytest

from streamer import failpoints
from streamer.control.identity import somebody
from streamer.errors import InvariantError, OperationRefusedError
from tests.unit.operations.shelf import Warehouse, fails


def test_after_its_stage_it_stands_paused_and_whoever_comes_goes_on(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    first = warehouse.executor(conductor="run 1").start(operation, until="a")
    assert (first.state, first.executor, first.trouble) == ("paused", "", None)
    assert [step.state for step in first.steps] == ["done", "waiting", "waiting"]
    said = f"held by operation {operation} .* nobody at present; it is paused, for run 1"
    with pytest.raises(OperationRefusedError, match=said):
        warehouse.executor().start(warehouse.planned("c"))

    second = warehouse.executor().start(operation, plan_id=first.plan_id, until="b")
    assert (second.state, second.epoch) == ("paused", 2)
    assert warehouse.shelf.labels() == []
    assert warehouse.executor().resume(operation).state == "done"
    assert [step.begun for step in warehouse.executor().books().operation(operation).steps] == [
        1,
        1,
        1,
    ]


def test_the_stage_of_the_last_step_ends_it(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    assert warehouse.executor().start(operation, until="label").state == "done"


def test_a_stage_that_is_found_done_does_nothing_of_the_next(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    warehouse.shelf.boxes["a"] = "somebody"
    found = warehouse.executor().start(operation, until="a")
    assert (found.state, [step.begun for step in found.steps]) == ("paused", [0, 0, 0])


def test_a_stage_that_fails_is_gone_on_with(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    warehouse.shelf.inside = fails
    assert warehouse.executor().start(operation, until="a").state == "failed"
    warehouse.shelf.inside = lambda _box: None
    assert warehouse.executor().start(operation, until="a").state == "paused"
    assert set(warehouse.shelf.boxes) == {"a"}


def test_what_stands_between_stages_is_taken_back(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    warehouse.executor().start(operation, until="b")
    cancelled = warehouse.executor().cancel(operation, why="not today")
    assert cancelled.state == "cancelled"
    assert cancelled.note == f"wanted by {somebody()}: not today"
    assert warehouse.shelf.end() == ({}, {}, [])


def test_the_world_says_whether_a_step_was_made_that_is_not_noted(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    planned = warehouse.executor().books().operation(operation)
    assert not warehouse.executor().is_done(planned, "label")
    with failpoints.armed("operations.after_step", "error"):
        warehouse.executor().start(operation, until="a")
    with failpoints.armed("operations.after_step", "error"):
        left = warehouse.executor().resume(operation)
    assert [step.state for step in left.steps] == ["done", "running"]
    assert warehouse.executor().is_done(left, "label")


def test_a_step_that_there_is_not_is_a_mistake(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    with pytest.raises(InvariantError, match="has no step 'z'"):
        warehouse.executor().start(operation, until="z")
    assert warehouse.executor().books().operation(operation).state == "planned"
