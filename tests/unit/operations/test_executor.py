"""An operation's way from a plan to its end, and what is refused on the way."""

from __future__ import annotations

import msgspec
import pytest

from streamer import failpoints
from streamer.control.operations import encode, operation_key
from streamer.control.plans import Plan
from streamer.errors import ConfigError, InternalTopicError, InvariantError, OperationRefusedError
from streamer.operations.kinds import Kinds
from streamer.operations.lock import LEASE_MS
from tests.unit.operations.shelf import Shelving, Warehouse, fails, interrupt, rows


def test_what_was_planned_is_carried_out_and_written_down(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    planned = warehouse.executor().books().operation(operation)
    assert (planned.state, planned.epoch, warehouse.shelf.boxes) == ("planned", 0, {})

    done = warehouse.executor().start(operation, plan_id=planned.plan_id)

    assert (done.state, done.epoch, done.executor) == ("done", 1, "")
    assert [step.state for step in done.steps] == ["done"] * 3
    assert [step.said for step in done.steps][:1] == ["a stands on the shelf"]
    assert warehouse.shelf.boxes == {"a": operation, "b": operation}
    assert warehouse.shelf.labels() == [b"labelled"]
    assert warehouse.executor().books().operation(operation) == done
    lock = warehouse.executor().books().lock("application")
    assert lock is not None
    assert (lock.operation, lock.owner, lock.epoch) == ("", "", 1)
    assert f"plan/{operation}" not in rows(warehouse)


def test_starting_or_resuming_what_is_done_changes_nothing(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    warehouse.executor().start(operation)
    before = rows(warehouse)
    assert warehouse.executor().start(operation).state == "done"
    assert warehouse.executor().resume(operation).state == "done"
    assert rows(warehouse) == before


def test_planning_alone_writes_nothing(warehouse: Warehouse) -> None:
    plan = warehouse.executor().plan("shelve", {"boxes": ["a"]})
    assert [step.id for step in plan.steps] == ["a", "label"]
    assert rows(warehouse) == {}
    with pytest.raises(OperationRefusedError, match="too small"):
        warehouse.executor().propose("shelve", {"boxes": list("abcdefghijkl")})
    with pytest.raises(OperationRefusedError, match="of kind 'sell' cannot be carried out here"):
        warehouse.executor().plan("sell", {})
    assert rows(warehouse) == {}


def test_a_world_that_has_moved_is_refused_with_what_differs(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    warehouse.shelf.room = 7
    with pytest.raises(OperationRefusedError, match=r"seen\.room: 7 \(was 10\)") as refused:
        warehouse.executor().start(operation)
    assert "plan it anew" in refused.value.hint
    assert warehouse.shelf.boxes == {}
    assert warehouse.executor().books().operation(operation).state == "planned"
    # It holds nothing: another one may run, and this one too when the world is as it was.
    assert warehouse.executor().start(warehouse.planned("b")).state == "done"
    warehouse.shelf.room = 10
    assert warehouse.executor().start(operation).state == "done"


def test_another_plan_than_the_approved_one_is_refused(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    with pytest.raises(OperationRefusedError, match="was approved"):
        warehouse.executor().start(operation, plan_id="0" * 64)
    assert warehouse.executor().books().locks == {}


def test_a_plan_of_last_week_is_refused(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    warehouse.clock.advance(8 * 86_400_000)
    with pytest.raises(OperationRefusedError, match="more than 7 days ago"):
        warehouse.executor().start(operation)
    assert warehouse.executor().books().locks == {}


def test_an_id_of_the_callers_own_is_planned_once(warehouse: Warehouse) -> None:
    executor = warehouse.executor()
    first = executor.propose("shelve", {"boxes": ["a"]}, operation="run-7")
    assert executor.propose("shelve", {"boxes": ("a",)}, operation="run-7") == first
    executor.start("run-7")
    assert executor.propose("shelve", {"boxes": ["a"]}, operation="run-7").state == "done"
    with pytest.raises(OperationRefusedError, match="is another one"):
        executor.propose("shelve", {"boxes": ["b"]}, operation="run-7")
    with pytest.raises(ConfigError, match="not an operation's id"):
        executor.propose("shelve", {"boxes": ["a"]}, operation="Run 7")


def test_a_kind_that_is_not_known_is_shown_and_refused(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    warehouse.shelf.inside = fails
    warehouse.executor().start(operation)
    stranger = warehouse.executor(Kinds())
    assert stranger.books().operation(operation).kind == "shelve"
    before = rows(warehouse)
    for attempt in (stranger.resume, stranger.cancel):
        with pytest.raises(
            OperationRefusedError, match="'shelve' cannot be carried out here"
        ) as no:
            attempt(operation)
        assert "another release" in no.value.hint
    assert rows(warehouse) == before


def test_a_planned_one_is_not_resumed(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    with pytest.raises(OperationRefusedError, match="has not begun"):
        warehouse.executor().resume(operation)
    with pytest.raises(OperationRefusedError, match="there is no operation 'x'"):
        warehouse.executor().resume("x")


def test_a_record_or_lock_that_cannot_be_read_is_refused_by_who_needs_it(
    warehouse: Warehouse,
) -> None:
    operation, other = warehouse.planned("a"), warehouse.planned("b")
    table = warehouse.table()
    table.put(f"plan/{operation}", b'{"format":2}')
    table.put("operation/other", b"junk")
    table.put("drain", b"of the controller's requests")
    with pytest.raises(InternalTopicError, match="format version 2"):
        warehouse.executor().start(operation)
    assert warehouse.executor().start(other).state == "done"
    assert len(warehouse.executor().books().refused) == 2
    with pytest.raises(InternalTopicError, match="'operation/other' is not a record of an"):
        warehouse.executor().propose("shelve", {"boxes": ["d"]}, operation="other")
    table.put("lock/application", b'{"format":2}')
    with pytest.raises(InternalTopicError, match="'lock/application' has format version 2"):
        warehouse.executor().start(warehouse.planned("c"))


def test_finished_operations_are_kept_for_a_month_as_far_as_they_are_few_or_small(
    warehouse: Warehouse,
) -> None:
    made = []
    for _ in range(6):
        made.append(warehouse.planned("a"))
        warehouse.executor().start(made[-1])
        warehouse.clock.advance(10 * 86_400_000)
    books = warehouse.executor().books()
    now_ms = warehouse.clock.now_ms()
    assert books.operations.keys() == set(made), "so few are kept for ever"

    def gone(**given: int) -> set[str]:
        return {key.partition("/")[2] for key, value in books.outdated(now_ms, **given)}

    assert gone() == set()
    # Ten days each: three of them are not older than thirty.
    assert gone(keep=0) == set(made[:3])
    assert gone(keep=4) == set(made[:2])
    size = len(rows(warehouse)[operation_key(made[-1])])
    assert gone(keep=0, bytes_max=2 * size + size // 2) == set(made[:4])
    assert gone(keep=0, bytes_max=1) == set(made)
    lock = books.lock("application")
    assert lock is not None
    assert lock.epoch == 6


@pytest.mark.slow
def test_a_run_of_many_operations_finds_each_of_them_at_its_end(warehouse: Warehouse) -> None:
    made = [warehouse.planned("a", scope=f"task/0_{number}") for number in range(52)]
    for name in made:
        warehouse.executor().start(name)
    warehouse.executor().start(warehouse.planned("b"))
    assert set(made) < warehouse.executor().books().ids()


def test_old_plans_and_wishes_about_nothing_are_taken_out(warehouse: Warehouse) -> None:
    old = warehouse.planned("a")
    executor = warehouse.executor()
    warehouse.table().put("cancel/gone", encode(executor._wish("gone", "")))
    warehouse.clock.advance(9 * 86_400_000)
    new = warehouse.planned("b")
    warehouse.executor().start(new)
    assert set(warehouse.executor().books().operations) == {new}
    assert set(rows(warehouse)) == {operation_key(new), "lock/application"}
    assert old != new


def test_what_a_kind_must_not_do_is_our_own_mistake(warehouse: Warehouse) -> None:
    class Other(Shelving):
        def plan(self, world, request):  # type: ignore[no-untyped-def]
            return msgspec.structs.replace(super().plan(world, request), kind="other")

        def steps(self, plan):  # type: ignore[no-untyped-def]
            return []

    with pytest.raises(InvariantError, match="has made a plan of kind 'other'"):
        warehouse.executor(Kinds([Other(warehouse.shelf)])).plan("shelve", {"boxes": ["a"]})
    operation = warehouse.planned("a")
    with pytest.raises(InvariantError, match=r"makes the steps \[\] of a plan with"):
        warehouse.executor(Kinds([Other(warehouse.shelf)])).start(operation)
    assert warehouse.executor().books().locks == {}
    with pytest.raises(InvariantError, match="two kinds of operations are called 'shelve'"):
        Kinds([Shelving(warehouse.shelf), Shelving(warehouse.shelf)])


def test_what_does_not_fit_into_a_record_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(OperationRefusedError, match="655,360 fit"):
        warehouse.executor().propose("shelve", {"boxes": ["a"], "note": "x" * 700_000})
    assert rows(warehouse) == {}

    def fails_at_length(_box: str) -> None:
        raise OSError("x" * 2_000_000)

    operation = warehouse.planned("a")
    warehouse.shelf.inside = fails_at_length
    failed = warehouse.executor().start(operation)
    assert failed.trouble is not None
    assert len(failed.trouble.message) == 4_000


def test_a_plan_of_nothing_is_done_or_cancelled_at_once(warehouse: Warehouse) -> None:
    class Empty(Shelving):
        def plan(self, world, request):  # type: ignore[no-untyped-def]
            return Plan(format=1, kind=self.name, steps=())

    empty = Kinds([Empty(warehouse.shelf)])
    executor = warehouse.executor(empty)
    assert executor.start(executor.propose("shelve", {}).id).state == "done"

    operation = executor.propose("shelve", {}).id
    with (
        failpoints.armed("operations.after_write", interrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        warehouse.executor(empty).start(operation)
    warehouse.clock.advance(2 * LEASE_MS)
    assert warehouse.executor(empty).cancel(operation).state == "cancelled"
