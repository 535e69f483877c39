"""A plan that is taken out leaves nothing; one that has begun cannot be."""

from __future__ import annotations

import pytest

from streamer.control.operations import plan_key
from streamer.errors import OperationRefusedError
from streamer.operations.fake import FakeTable
from streamer.operations.readiness import check_free, fits
from tests.unit.operations.shelf import APPLICATION, Warehouse


@pytest.fixture
def warehouse() -> Warehouse:
    return Warehouse()


def rows(warehouse: Warehouse) -> set[str]:
    return set(warehouse.table().read(to_end=True))


def fails(_box: str) -> None:
    raise OSError("the lift is broken")


def test_it_leaves_nothing_and_twice_is_as_once(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    for _ in range(2):
        warehouse.executor().withdraw(operation)
        assert rows(warehouse) == set()
    warehouse.executor().withdraw("unknown")


def test_a_wish_to_cancel_it_goes_with_it(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    warehouse.executor().cancel(operation)
    warehouse.executor().withdraw(operation)
    assert rows(warehouse) == set()


def test_its_name_can_be_used_again(warehouse: Warehouse) -> None:
    first = warehouse.executor().propose("shelve", {"boxes": ["a"]}, operation="mine")
    warehouse.executor().withdraw(first.id)
    second = warehouse.executor().propose("shelve", {"boxes": ["b"]}, operation="mine")
    assert warehouse.executor().start("mine", plan_id=second.plan_id).state == "done"
    assert warehouse.shelf.boxes == {"b": "mine"}


@pytest.mark.parametrize("ends", ["done", "failed", "cancelled"])
def test_what_has_begun_stays(warehouse: Warehouse, ends: str) -> None:
    operation = warehouse.planned("a")
    if ends != "done":
        warehouse.shelf.inside = fails
    warehouse.executor().start(operation)
    warehouse.shelf.inside = lambda _box: None
    if ends == "cancelled":
        warehouse.executor().cancel(operation)
    warehouse.executor().withdraw(operation)
    assert warehouse.executor().books().operation(operation).state == ends


def test_a_process_that_starts_it_at_this_moment_goes_on(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    seen: list[str] = []

    class Late(FakeTable):
        """Takes the plan out when it has begun, though it was found planned before."""

        def put(self, key: str, value: bytes | None) -> None:
            seen.append(warehouse.executor().start(operation).state)
            super().put(key, value)

    warehouse.executor(table=Late(warehouse.broker, APPLICATION)).withdraw(operation)
    assert seen == ["done"]
    assert plan_key(operation) not in rows(warehouse)
    assert warehouse.executor().books().operation(operation).state == "done"


def test_whether_it_is_free_is_told_by_who_has_it(warehouse: Warehouse) -> None:
    first, second = warehouse.planned("a"), warehouse.planned("b")
    executor = warehouse.executor()
    check_free(executor, "application", second)
    warehouse.shelf.inside = fails
    warehouse.executor().start(first)
    check_free(executor, "application", first)
    check_free(executor, "task/0_1", second)
    with pytest.raises(OperationRefusedError, match=f"is held by operation {first} \\(shelve\\)"):
        check_free(executor, "application", second)


def test_a_plan_fits_for_as_long_as_it_would_be_made_again(warehouse: Warehouse) -> None:
    executor, operation = warehouse.executor(), warehouse.planned("a", "b")
    record = executor.books().operation(operation)
    assert fits(executor, record)
    warehouse.shelf.room = 9
    assert not fits(executor, record)
    warehouse.shelf.room = 1
    assert not fits(executor, record), "it is refused by now"
