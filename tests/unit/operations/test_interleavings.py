"""Several processes at once, in any order of their calls to Kafka, with leases that lapse."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.config import Config
from streamer.control.operations import LockRecord, OperationRecord, decode
from streamer.errors import FencedError, OperationRefusedError
from streamer.operations.executor import Executor
from streamer.operations.lock import LEASE_MS
from tests.hurry import examples
from tests.unit.operations.shelf import APPLICATION, Warehouse
from tests.unit.operations.turns import Turns, TurnTable

turns_taken = st.lists(st.integers(0, 3), max_size=120)
lapses = st.sets(st.integers(0, 120), max_size=6)
lags = st.lists(st.integers(0, 3), max_size=40)


def executor(warehouse: Warehouse, turns: Turns) -> Executor:
    return Executor(
        Config(application_id=APPLICATION, bootstrap_servers="127.0.0.1:9"),
        TurnTable(warehouse.broker, APPLICATION, turns),
        warehouse.kinds,
        clock=warehouse.clock,
        pulses=False,
    )


def run(
    warehouse: Warehouse,
    works: list[Callable[[Executor], object]],
    choices: list[int],
    lapsing: set[int],
    lagging: list[int],
) -> None:
    turns = Turns(lagging)

    def actor(work: Callable[[Executor], object]) -> Callable[[], None]:
        def act() -> None:
            with suppress(OperationRefusedError, FencedError):
                work(executor(warehouse, turns))

        return act

    def between(turn: int) -> None:
        # A little, so that wishes are looked for; or enough for every lease.
        warehouse.clock.advance(2 * LEASE_MS if turn in lapsing else 300)

    turns.run([actor(work) for work in works], choices, between=between)


def check_the_log(warehouse: Warehouse) -> None:
    """Whoever wrote was the one who might, at each record of the log."""
    epoch, holder, owner = 0, "", ""
    written: list[OperationRecord] = []
    finished: set[str] = set()
    for record in warehouse.broker.partition_records(warehouse.table().place):
        key = (record.key or b"").decode()
        if record.value is None or key.startswith(("plan/", "cancel/")):
            continue
        if key.startswith("operation/"):
            written.append(decode(OperationRecord, APPLICATION, key=key, value=record.value))
            continue
        lock = decode(LockRecord, APPLICATION, key=key, value=record.value)
        # The rows of a transaction come before its lock's, and are of its epoch.
        assert {one.epoch for one in written} <= {lock.epoch}
        assert lock.epoch in (epoch, epoch + 1)
        if lock.epoch == epoch:
            assert lock.owner in (owner, ""), "two owners in one epoch"
            assert lock.operation in (holder, "")
        elif holder:
            assert lock.operation == holder, "an unfinished operation has lost its lock"
        for one in written:
            assert one.id not in finished, "a finished operation was written again"
            if one.is_finished:
                assert not lock.operation
                finished.add(one.id)
        epoch, holder, owner = lock.epoch, lock.operation, lock.owner
        written = []
    assert not written


@settings(max_examples=examples(30))
@given(choices=turns_taken, lapsing=lapses, lagging=lags)
def test_an_operation_that_two_processes_want_at_once_is_done_once(
    choices: list[int], lapsing: set[int], lagging: list[int]
) -> None:
    warehouse = Warehouse()
    operation = warehouse.planned("a", "b")
    run(warehouse, [lambda one: one.start(operation)] * 2, choices, lapsing, lagging)
    check_the_log(warehouse)
    assert warehouse.executor().start(operation, takes_over=True).state == "done"
    check_the_log(warehouse)
    assert set(warehouse.shelf.boxes) == {"a", "b"}
    assert warehouse.shelf.labels() == [b"labelled"]


@settings(max_examples=examples(30))
@given(choices=turns_taken, lapsing=lapses, lagging=lags, takes_over=st.booleans())
def test_two_operations_are_never_at_work_at_once(
    choices: list[int], lapsing: set[int], lagging: list[int], takes_over: bool
) -> None:
    warehouse = Warehouse()
    first, second = warehouse.planned("a"), warehouse.planned("b")
    works: list[Callable[[Executor], object]] = [
        lambda one: one.start(first),
        lambda one: one.start(second),
        lambda one: one.start(first, takes_over=takes_over),
    ]
    run(warehouse, works, choices, lapsing, lagging)
    check_the_log(warehouse)
    for operation in (first, second):
        with suppress(OperationRefusedError):
            warehouse.executor().start(operation, takes_over=True)
    for operation in (first, second):
        assert warehouse.executor().start(operation, takes_over=True).state == "done"
    check_the_log(warehouse)
    assert set(warehouse.shelf.boxes) == {"a", "b"}


@settings(max_examples=examples(30))
@given(choices=turns_taken, lapsing=lapses, lagging=lags)
def test_a_cancelled_operation_ends_either_way_and_as_a_whole(
    choices: list[int], lapsing: set[int], lagging: list[int]
) -> None:
    warehouse = Warehouse()
    operation = warehouse.planned("a", "b", no_return_when="begun")
    works: list[Callable[[Executor], object]] = [
        lambda one: one.start(operation),
        lambda one: one.cancel(operation),
        lambda one: one.start(operation),
    ]
    run(warehouse, works, choices, lapsing, lagging)
    check_the_log(warehouse)
    ended = warehouse.executor().start(operation, takes_over=True)
    check_the_log(warehouse)
    assert ended.state in ("done", "cancelled")
    assert bool(warehouse.shelf.labels()) == (ended.state == "done")
    if ended.state == "done":
        assert {"a", "b"} == set(warehouse.shelf.boxes)


@pytest.mark.slow
@settings(max_examples=examples(30))
@given(choices=turns_taken, lagging=lags)
def test_who_has_the_lock_by_right_is_never_told_to_have_lost_it(
    choices: list[int], lagging: list[int]
) -> None:
    warehouse = Warehouse()
    operations = [warehouse.planned("a"), warehouse.planned("b")]
    turns = Turns(lagging)
    outcomes: list[str] = []

    def actor(operation: str) -> Callable[[], None]:
        def act() -> None:
            # A FencedError is not expected, and would be raised.
            with suppress(OperationRefusedError):
                outcomes.append(executor(warehouse, turns).start(operation).state)

        return act

    # No time passes, so no lease is over.
    works = [actor(operation) for operation in (*operations, operations[0])]
    turns.run(works, choices, between=lambda _turn: None)
    check_the_log(warehouse)
    assert outcomes
    assert set(outcomes) == {"done"}


@pytest.mark.slow
@given(lagging=lags)
def test_one_after_the_other_is_never_refused(lagging: list[int]) -> None:
    warehouse = Warehouse()
    turns = Turns(lagging)
    one = executor(warehouse, turns)
    for box in "abc":
        planned = one.propose("shelve", {"boxes": [box]})
        assert one.start(planned.id).state == "done"
        assert one.start(planned.id).state == "done"
