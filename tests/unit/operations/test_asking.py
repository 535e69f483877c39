"""A cancel is asked for where somebody can hear it, and nothing is undone by who asks."""

from __future__ import annotations

import pytest

from streamer.errors import OperationRefusedError
from streamer.operations.asking import ask_to_cancel
from streamer.operations.lock import LEASE_MS
from tests.unit.operations.shelf import Warehouse


@pytest.fixture
def warehouse() -> Warehouse:
    return Warehouse()


def ask(warehouse: Warehouse, operation: str) -> str:
    now_ms = warehouse.clock.now_ms()
    return ask_to_cancel(warehouse.table(), operation, why="by ann", now_ms=now_ms).state


def test_a_plan_is_given_up_at_once(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    assert ask(warehouse, operation) == "cancelled"
    wish = warehouse.executor().books().cancel(operation)
    assert wish is not None
    assert wish.why == "by ann"
    # Asked twice, it is the same.
    assert ask(warehouse, operation) == "cancelled"
    assert warehouse.executor().start(operation).state == "cancelled"
    assert warehouse.shelf.boxes == {}


def test_whoever_carries_it_out_hears_it_and_takes_back_what_it_did(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")

    def asked(box: str) -> None:
        if box == "b" and warehouse.executor().books().cancel(operation) is None:
            assert ask(warehouse, operation) == "running"

    warehouse.shelf.inside = asked
    done = warehouse.executor().start(operation)
    assert done.state == "cancelled"
    assert warehouse.shelf.boxes == {}


def test_where_nobody_would_hear_it_is_refused_with_what_to_do(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")

    def breaks(box: str) -> None:
        if box == "b":
            raise OSError("the lift is broken")

    warehouse.shelf.inside = breaks
    assert warehouse.executor().start(operation).state == "failed"
    with pytest.raises(OperationRefusedError, match="nobody would hear") as refused:
        ask(warehouse, operation)
    assert f"streamer operations cancel {operation}" in refused.value.hint
    assert warehouse.executor().books().cancel(operation) is None
    assert warehouse.shelf.boxes == {"a": operation}


def test_a_process_that_dies_at_that_moment_leaves_the_work_to_others(
    warehouse: Warehouse,
) -> None:
    operation = warehouse.planned("a", "b")
    looked_ms = 0

    def dies(box: str) -> None:
        nonlocal looked_ms
        if box == "b" and not looked_ms:
            looked_ms = warehouse.clock.now_ms()
            raise SystemExit("killed")

    warehouse.shelf.inside = dies
    with pytest.raises(SystemExit):
        warehouse.executor().start(operation)
    # By the clock of the look its lease was not over.
    record = ask_to_cancel(warehouse.table(), operation, why="by ann", now_ms=looked_ms)
    assert record.state == "running"
    assert warehouse.shelf.boxes == {"a": operation}  # nothing was taken back here

    # Whoever goes on with it finds the wish.
    warehouse.clock.advance(LEASE_MS + 1)
    assert warehouse.executor().resume(operation).state == "cancelled"
    assert warehouse.shelf.boxes == {}


def test_behind_the_point_of_no_return_and_at_the_end_it_is_refused(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    warehouse.executor().start(operation)
    with pytest.raises(OperationRefusedError, match="it is done"):
        ask(warehouse, operation)
