"""What ends an operation before its end: failures, a cancel, a stop, and what goes on after it."""

from __future__ import annotations

import threading

import pytest

from streamer import failpoints
from streamer.control.operations import encode
from streamer.errors import KafkaUnavailableError, OperationRefusedError, StoppedError
from streamer.operations.kinds import Kinds
from tests.unit.operations.shelf import LABELS, Shelving, Warehouse, fails, rows


def test_a_step_that_fails_leaves_the_reason_and_holds_the_application(
    warehouse: Warehouse,
) -> None:
    operation = warehouse.planned("a", "b")
    warehouse.shelf.inside = fails
    failed = warehouse.executor().start(operation)
    assert failed.state == "failed"
    assert failed.trouble is not None
    assert failed.trouble.message == "OSError: the lift is broken"
    assert failed.trouble.step == "a"
    assert f"streamer operations resume {operation}" in failed.trouble.hint

    other = warehouse.planned("c")
    before = rows(warehouse)
    with pytest.raises(OperationRefusedError) as refused:
        warehouse.executor().start(other)
    assert f"application is held by operation {operation} (shelve), carried out by nobody" in str(
        refused.value
    )
    assert rows(warehouse) == before

    warehouse.shelf.inside = lambda _box: None
    done = warehouse.executor().resume(operation)
    assert (done.state, done.epoch, done.trouble) == ("done", 2, None)
    assert [step.begun for step in done.steps] == [2, 1, 1]
    assert warehouse.executor().start(other).state == "done"


def test_a_step_that_ran_and_is_not_done_is_a_failure(warehouse: Warehouse) -> None:
    class Lazy(Shelving):
        def steps(self, plan):  # type: ignore[no-untyped-def]
            made = super().steps(plan)
            object.__setattr__(made[0], "run", lambda _world, _work: "nothing")
            return made

    operation = warehouse.planned("a")
    failed = warehouse.executor(Kinds([Lazy(warehouse.shelf)])).start(operation)
    assert failed.trouble is not None
    assert "step a has run, and is not done all the same" in failed.trouble.message


def test_cancelling_takes_back_what_was_begun(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b", "c")

    def at_b(box: str) -> None:
        if box == "b":
            fails(box)

    warehouse.shelf.inside = at_b
    warehouse.executor().start(operation)
    assert set(warehouse.shelf.brought) == {"a", "b"}
    warehouse.shelf.inside = lambda _box: None
    cancelled = warehouse.executor().cancel(operation, why="wrong boxes")
    assert cancelled.state == "cancelled"
    assert [step.state for step in cancelled.steps] == ["undone", "undone", "waiting", "waiting"]
    assert warehouse.shelf.end() == ({}, {}, [])
    assert warehouse.executor().cancel(operation) == cancelled
    assert not any(key.startswith("cancel/") for key in rows(warehouse))


def test_an_undo_that_finds_no_way_back_has_the_operation_finished(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")

    def at_b(box: str) -> None:
        if box == "b":
            fails(box)

    warehouse.shelf.inside = at_b
    assert warehouse.executor().start(operation).state == "failed"

    def labelled(box: str) -> None:
        """By a process that was given up, after the last look."""
        if box == "b":
            warehouse.broker.append(LABELS, b"label", b"labelled")

    warehouse.shelf.inside = labelled
    done = warehouse.executor().cancel(operation, why="wrong boxes")
    assert (done.state, done.trouble) == ("done", None)
    assert "there is no way back after step label: a label cannot be taken off" in done.note
    assert [step.state for step in done.steps] == ["done", "done", "done"]
    assert set(warehouse.shelf.boxes) == {"a", "b"}
    assert not any(key.startswith("cancel/") for key in rows(warehouse))


def test_what_was_done_before_it_began_is_not_taken_back(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    warehouse.shelf.boxes["a"] = "someone"
    warehouse.shelf.inside = fails
    failed = warehouse.executor().start(operation)
    assert (failed.steps[0].begun, failed.steps[0].state) == (0, "done")
    warehouse.shelf.inside = lambda _box: None
    assert warehouse.executor().cancel(operation).state == "cancelled"
    assert warehouse.shelf.boxes == {"a": "someone"}


def test_a_process_at_work_is_asked_and_takes_it_back_itself(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b", "c")

    def meanwhile(box: str) -> None:
        if box == "b" and box not in warehouse.shelf.boxes:
            asked = warehouse.executor().cancel(operation, why="enough")
            assert asked.state in ("running", "cancelling")
            warehouse.clock.advance(1_500)

    warehouse.shelf.inside = meanwhile
    assert warehouse.executor().start(operation).state == "cancelled"
    assert warehouse.shelf.end() == ({}, {}, [])
    assert "cancelling" in warehouse.seen


def test_a_plan_that_was_cancelled_cannot_be_started(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    assert warehouse.executor().cancel(operation).state == "cancelled"
    assert warehouse.executor().start(operation).state == "cancelled"
    assert warehouse.shelf.boxes == {}


def test_a_plan_that_was_withdrawn_is_not_there_any_more(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    assert warehouse.executor().withdraw(operation)
    assert rows(warehouse) == {}
    assert not warehouse.executor().withdraw(operation)
    with pytest.raises(OperationRefusedError, match="there is no operation"):
        warehouse.executor().start(operation)
    done = warehouse.planned("b")
    warehouse.executor().start(done)
    assert not warehouse.executor().withdraw(done)
    assert warehouse.executor().books().operation(done).state == "done"


def test_a_plan_that_is_withdrawn_while_it_is_begun_goes_on(warehouse: Warehouse) -> None:
    """Whoever withdraws it has read it as planned a moment ago."""
    operation = warehouse.planned("a")
    warehouse.shelf.inside = lambda _box: warehouse.table().put(f"plan/{operation}", None)
    assert warehouse.executor().start(operation).state == "done"


def _second(warehouse: Warehouse) -> None:
    if warehouse.shelf.labels():
        raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["done", "begun"])
def test_there_is_no_way_back_after_the_step_that_says_so(warehouse: Warehouse, when: str) -> None:
    operation = warehouse.planned("a", no_return_when=when)
    with (
        failpoints.armed("operations.after_step", lambda: _second(warehouse)),
        pytest.raises(KeyboardInterrupt),
    ):
        warehouse.executor().start(operation)
    assert warehouse.executor().books().operation(operation).state == "paused"
    with pytest.raises(OperationRefusedError, match="no way back after step label: a label") as no:
        warehouse.executor().cancel(operation)
    assert f"streamer operations resume {operation}" in no.value.hint
    assert not any(key.startswith("cancel/") for key in rows(warehouse))
    assert warehouse.executor().resume(operation).state == "done"
    with pytest.raises(OperationRefusedError, match="it is done"):
        warehouse.executor().cancel(operation)


def test_a_wish_that_comes_too_late_is_answered(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", no_return_when="begun")

    def late() -> None:
        record = warehouse.executor().books().operation(operation)
        if record.steps[1].begun:
            # As by one who looked just before the step began.
            executor = warehouse.executor()
            wish = encode(executor._wish(operation, "late"))
            warehouse.table().put(f"cancel/{operation}", wish)
            warehouse.clock.advance(1_500)

    with failpoints.armed("operations.before_step", late):
        done = warehouse.executor().start(operation)
    assert done.state == "done"
    assert "wanted to cancel it, but there is no way back after step label" in done.note
    assert not any(key.startswith("cancel/") for key in rows(warehouse))


def test_aninterrupt_pauses_it_and_the_next_one_goes_on(warehouse: Warehouse) -> None:
    def interrupt(_box: str) -> None:
        raise KeyboardInterrupt

    operation = warehouse.planned("a")
    warehouse.shelf.inside = interrupt
    with pytest.raises(KeyboardInterrupt):
        warehouse.executor().start(operation)
    paused = warehouse.executor().books().operation(operation)
    assert paused.state == "paused"
    assert paused.trouble is not None
    assert paused.trouble.message == "it was asked to stop"
    warehouse.shelf.inside = lambda _box: None
    # At once: who left cleanly has no lease that must end first.
    assert warehouse.executor().resume(operation).state == "done"


def test_a_process_that_is_to_stop_pauses_it(warehouse: Warehouse) -> None:
    stopping = threading.Event()
    operation = warehouse.planned("a", "b")
    warehouse.shelf.inside = lambda _box: stopping.set()
    with pytest.raises(StoppedError):
        warehouse.executor(stopping=stopping).start(operation)
    assert warehouse.executor().books().operation(operation).state == "paused"
    assert warehouse.executor().resume(operation).state == "done"


def test_what_is_abandoned_says_what_it_left(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    warehouse.shelf.inside = fails
    warehouse.executor().start(operation)
    given_up = warehouse.executor(Kinds()).abandon(operation, why="lift sold")
    assert (given_up.state, given_up.left) == ("cancelled", ("a",))
    assert "lift sold" in given_up.note
    warehouse.shelf.inside = lambda _box: None
    assert warehouse.executor().start(warehouse.planned("b")).state == "done"


def test_a_world_that_cannot_be_reached_leaves_it_as_it_was(warehouse: Warehouse) -> None:
    class Away(Shelving):
        def open(self, config, request):  # type: ignore[no-untyped-def]
            raise KafkaUnavailableError("the repository does not answer", hint="start it")

    away = Kinds([Away(warehouse.shelf)])
    operation = warehouse.planned("a")
    with pytest.raises(KafkaUnavailableError):
        warehouse.executor(away).start(operation)
    assert warehouse.executor().books().operation(operation).state == "planned"
    warehouse.shelf.inside = fails
    warehouse.executor().start(operation)
    failed = warehouse.executor(away).resume(operation)
    assert (failed.state, failed.steps[0].begun) == ("failed", 1)
    assert failed.trouble is not None
    assert failed.trouble.message == "the repository does not answer"
    assert failed.trouble.hint == f"start it; then streamer operations resume {operation}"
