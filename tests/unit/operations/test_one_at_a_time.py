"""One process carries an operation out at a time, and each write is done once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streamer import failpoints
from streamer.errors import FencedError, KafkaUnavailableError, OperationRefusedError, StoppedError
from streamer.operations.fake import FakeClaim, FakeTable
from streamer.operations.lock import LEASE_MS
from tests.unit.operations.shelf import Warehouse, fails, interrupt, rows


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
        failpoints.armed("operations.after_write", interrupt),
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


def test_brokers_that_are_away_for_a_moment_are_asked_again(warehouse: Warehouse) -> None:
    operation = warehouse.planned("a", "b")
    away = [KafkaUnavailableError("away") for _ in range(3)]
    warehouse.shelf.inside = lambda _box: warehouse.broker.fail_next("commit", *away[:2])
    assert warehouse.executor().start(operation).state == "done"


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
