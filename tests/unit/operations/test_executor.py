"""An operation's way from a plan to its end, by one process at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from streamer import failpoints
from streamer.control.operations import encode, operation_key
from streamer.control.plans import Plan
from streamer.errors import (
    ConfigError,
    FencedError,
    InternalTopicError,
    InvariantError,
    KafkaUnavailableError,
    OperationRefusedError,
    StoppedError,
)
from streamer.operations.fake import FakeClaim, FakeTable
from streamer.operations.kinds import Kinds
from streamer.operations.lock import LEASE_MS
from tests.unit.operations.shelf import Shelving, Warehouse


@pytest.fixture
def warehouse() -> Warehouse:
    return Warehouse()


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()


def rows(warehouse: Warehouse) -> dict[str, bytes]:
    return dict(warehouse.table().read(to_end=True))


def fails(_box: str) -> None:
    raise OSError("the lift is broken")


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


def test_a_second_process_is_refused_while_the_first_lives(warehouse: Warehouse) -> None:
    operation, other = warehouse.planned("a"), warehouse.planned("b")
    refusals = []

    def meanwhile(_box: str) -> None:
        before = rows(warehouse)
        for attempt in (
            lambda: warehouse.executor().resume(operation),
            lambda: warehouse.executor().start(other),
        ):
            with pytest.raises(OperationRefusedError) as refused:
                attempt()
            refusals.append(refused.value.describe())
        assert rows(warehouse) == before

    warehouse.shelf.inside = meanwhile
    assert warehouse.executor().start(operation).state == "done"
    assert "is carried out by" in refusals[0]
    assert "--take-over" in refusals[0]
    assert f"application is held by operation {operation} (shelve), carried out by" in refusals[1]


def test_a_process_that_was_replaced_has_no_effect_any_more(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")

    def meanwhile(_box: str) -> None:
        warehouse.shelf.inside = lambda _box: None
        assert warehouse.executor().resume(operation, takes_over=True).state == "done"

    warehouse.shelf.inside = meanwhile
    with pytest.raises(FencedError, match="is not carried out here any more"):
        warehouse.executor().start(operation)
    assert warehouse.executor().books().operation(operation).state == "done"
    assert warehouse.shelf.labels() == [b"labelled"]


def test_one_that_stood_still_takes_up_again_where_nobody_came(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    warehouse.shelf.inside = lambda _box: warehouse.clock.advance(10 * LEASE_MS) and None
    assert warehouse.executor().start(operation).state == "done"


def test_operations_of_other_scopes_run_beside_it(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    beside = warehouse.planned("b", scope="task/0_3")
    again = warehouse.planned("c", scope="task/0_3")

    def meanwhile(box: str) -> None:
        if box == "a":
            assert warehouse.executor().start(beside).state == "done"
        if box == "b":
            with pytest.raises(OperationRefusedError, match="task/0_3 is held by"):
                warehouse.executor().start(again)

    warehouse.shelf.inside = meanwhile
    assert warehouse.executor().start(operation).state == "done"
    assert set(warehouse.shelf.boxes) == {"a", "b"}
    epochs = {scope: lock.epoch for scope, lock in warehouse.executor().books().locks.items()}
    assert epochs == {"application": 1, "task/0_3": 1}


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


def test_a_plan_that_was_dropped_is_not_there_any_more(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a")
    assert warehouse.executor().drop(operation)
    assert rows(warehouse) == {}
    assert not warehouse.executor().drop(operation)
    with pytest.raises(OperationRefusedError, match="there is no operation"):
        warehouse.executor().start(operation)
    done = warehouse.planned("b")
    warehouse.executor().start(done)
    assert not warehouse.executor().drop(done)
    assert warehouse.executor().books().operation(done).state == "done"


def test_a_plan_that_is_dropped_while_it_is_begun_goes_on(warehouse: Warehouse) -> None:
    """Whoever drops it has read it as planned a moment ago."""
    operation = warehouse.planned("a")
    warehouse.shelf.inside = lambda _box: warehouse.table().put(f"plan/{operation}", None)
    assert warehouse.executor().start(operation).state == "done"


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


def _second(warehouse: Warehouse) -> None:
    if warehouse.shelf.labels():
        raise KeyboardInterrupt


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


def test_an_interrupt_pauses_it_and_the_next_one_goes_on(warehouse: Warehouse) -> None:
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


def test_what_is_abandoned_says_what_it_left(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    warehouse.shelf.inside = fails
    warehouse.executor().start(operation)
    given_up = warehouse.executor(Kinds()).abandon(operation, why="lift sold")
    assert (given_up.state, given_up.left) == ("cancelled", ("a",))
    assert "lift sold" in given_up.note
    warehouse.shelf.inside = lambda _box: None
    assert warehouse.executor().start(warehouse.planned("b")).state == "done"


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


def test_brokers_that_are_away_for_a_moment_are_asked_again(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    away = [KafkaUnavailableError("away") for _ in range(3)]
    warehouse.shelf.inside = lambda _box: warehouse.broker.fail_next("commit", *away[:2])
    assert warehouse.executor().start(operation).state == "done"


def test_only_the_newest_finished_operations_are_kept(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.operations.books.Books.outdated.__defaults__", (3,))
    made = []
    for _ in range(6):
        made.append(warehouse.planned("a"))
        warehouse.executor().start(made[-1])
        warehouse.clock.advance(1_000)
    # The last one was written with the tombstones of those before it.
    kept = sorted(warehouse.executor().books().operations, key=made.index)
    assert kept == made[-4:]
    lock = warehouse.executor().books().lock("application")
    assert lock is not None
    assert lock.epoch == 6


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


def test_a_process_that_is_to_stop_pauses_it(warehouse: Warehouse) -> None:
    stopping = threading.Event()
    operation = warehouse.planned("a", "b")
    warehouse.shelf.inside = lambda _box: stopping.set()
    with pytest.raises(StoppedError):
        warehouse.executor(stopping=stopping).start(operation)
    assert warehouse.executor().books().operation(operation).state == "paused"
    assert warehouse.executor().resume(operation).state == "done"


class Unheard(FakeTable):
    """The answer to one write is lost: it was done, or it was not."""

    def __init__(self, warehouse: Warehouse, *, nth: int, is_done: bool) -> None:
        super().__init__(warehouse.broker, "app")
        self.left, self.is_done = nth, is_done

    def claim(self, scope: str) -> FakeClaim:
        claim = super().claim(scope)
        write = claim.write

        def unheard(*arguments: Any) -> None:
            self.left -= 1
            if self.left != 0:
                write(*arguments)
                return
            if self.is_done:
                write(*arguments)
            raise KafkaUnavailableError("no answer")

        claim.write = unheard  # type: ignore[method-assign]
        return claim


@pytest.mark.parametrize("is_done", [True, False])
def test_a_write_of_which_nothing_is_heard_is_done_once(is_done: bool) -> None:
    nth = 0
    while True:
        nth += 1
        warehouse = Warehouse()
        table = Unheard(warehouse, nth=nth, is_done=is_done)
        operation = warehouse.planned("a", "b")
        done = warehouse.executor(table=table).start(operation)
        assert (done.state, done.epoch) == ("done", 1)
        assert warehouse.executor().books().operation(operation) == done
        lock = warehouse.executor().books().lock("application")
        assert lock is not None
        assert (lock.epoch, lock.operation) == (1, "")
        assert set(warehouse.shelf.labels()) == {b"labelled"}
        if table.left > 0:
            break
    assert nth > 8


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
        failpoints.armed("operations.after_write", _interrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        warehouse.executor(empty).start(operation)
    warehouse.clock.advance(2 * LEASE_MS)
    assert warehouse.executor(empty).cancel(operation).state == "cancelled"


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_one_that_waits_goes_on_when_the_other_one_has_died(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        warehouse.clock.advance(int(seconds * 1_000))

    monkeypatch.setattr("streamer.operations.executor.time.sleep", sleep)
    operation = warehouse.planned("a")
    with (
        failpoints.armed("operations.after_write", _interrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        warehouse.executor().start(operation)
    with pytest.raises(OperationRefusedError, match="is carried out by"):
        warehouse.executor().start(operation)
    assert warehouse.executor().start(operation, waits=True).state == "done"
    assert sum(waited) == LEASE_MS / 1_000
    assert warehouse.executor().resume(operation, waits=True).state == "done"

    # What is refused for another reason is refused at once.
    held, other = warehouse.planned("b"), warehouse.planned("c")
    warehouse.shelf.inside = fails
    warehouse.executor().start(held)
    with pytest.raises(OperationRefusedError, match="application is held by"):
        warehouse.executor().start(other, waits=True)


def test_one_that_waits_hears_how_the_other_one_ended(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = warehouse.planned("a")
    seen = []

    def meanwhile(_box: str) -> None:
        warehouse.shelf.inside = lambda _box: None
        stopping = threading.Event()
        monkeypatch.setattr(
            "streamer.operations.executor.time.sleep", lambda _seconds: stopping.set()
        )
        with pytest.raises(StoppedError, match="while another process does"):
            warehouse.executor(notice=seen.append, stopping=stopping).resume(operation, waits=True)

    warehouse.shelf.inside = meanwhile
    assert warehouse.executor().start(operation).state == "done"
    assert [record.state for record in seen] == ["running", "running"]
