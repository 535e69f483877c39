"""Who drives an operation, and when a slot is given up."""

from __future__ import annotations

import functools
import threading
from typing import Any

import msgspec
import pytest

from streamer.control.operations import OperationRecord
from streamer.errors import OperationRefusedError, StoppedError
from streamer.operations.catalog import is_left_to_workers
from streamer_airflow.driving import Driver, Watch
from tests.airflow.unit.rig import Rig
from tests.unit.operations.shelf import Warehouse


def record(warehouse: Warehouse, *, kind: str, step: str, executor: str) -> OperationRecord:
    """Of an operation of this kind whose step is under way."""
    name = warehouse.planned(step)
    found = warehouse.executor().books().operation(name)
    steps = (msgspec.structs.replace(found.steps[0], state="running", begun=1), *found.steps[1:])
    return msgspec.structs.replace(
        found, kind=kind, state="running", steps=steps, executor=executor
    )


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("kind", "step", "is_left"),
    [
        ("snapshot", "wait", True),
        ("snapshot", "order", False),
        ("rebuild", "warm", True),
        ("rebuild", "export", True),
        ("rebuild", "withdraw", False),
        ("trim", "delete-records", False),
        ("repartition", "shadow", False),
        ("repartition", "settle", True),
    ],
)
def test_only_steps_that_workers_do_are_left_to_them(
    warehouse: Warehouse, kind: str, step: str, is_left: bool
) -> None:
    one = record(warehouse, kind=kind, step=step, executor="me")
    assert is_left_to_workers(one) == is_left
    assert not is_left_to_workers(msgspec.structs.replace(one, state="cancelling"))


def test_who_only_looks_on_leaves_what_workers_do_not_do(warehouse: Warehouse) -> None:
    stopping = threading.Event()
    watch = Watch(stopping, looks_on=True)
    watch.owner = "me"
    for step, executor in (("copy", "another"), ("settle", "me")):
        watch.notice(record(warehouse, kind="repartition", step=step, executor=executor))
        assert not stopping.is_set()
    watch.notice(record(warehouse, kind="repartition", step="copy", executor="me"))
    assert (stopping.is_set(), watch.has_left) == (True, True)


def test_a_slot_is_left_when_workers_have_worked_for_long(warehouse: Warehouse) -> None:
    seconds, stopping = Seconds(), threading.Event()
    watch = Watch(stopping, 20.0, now=seconds)
    watch.owner = "me"
    busy = record(warehouse, kind="snapshot", step="order", executor="me")
    idle = record(warehouse, kind="snapshot", step="wait", executor="me")
    for at, one in ((0, idle), (15, busy), (16, idle), (35, idle)):
        seconds.now = at
        watch.notice(one)
    assert not stopping.is_set()
    seconds.now = 36
    watch.notice(idle)
    assert stopping.is_set()
    assert watch.has_left


def test_a_slot_is_left_while_another_process_carries_it_out(warehouse: Warehouse) -> None:
    seconds, stopping = Seconds(), threading.Event()
    watch = Watch(stopping, 20.0, now=seconds)
    watch.owner = "me"
    for seconds.now in (0.0, 20.0):
        watch.notice(record(warehouse, kind="trim", step="cut", executor="another"))
    assert watch.has_left


def test_who_waits_for_another_process_says_for_whom_and_how_long(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as a task that is cleared after its process was killed."""
    caplog.set_level("INFO", "streamer_airflow.driving")
    watch = Watch(threading.Event())
    watch.owner = "me"
    for executor in ("ann@host:1#ab", "ann@host:1#ab", "me"):
        watch.notice(record(warehouse, kind="repartition", step="copy", executor=executor))
    waits = "; waits for ann@host:1#ab, whose lease ends 30 s after it was heard last"
    assert caplog.messages == [f"step 1 of 2 copy{waits}", "step 1 of 2 copy"]


def test_without_patience_it_stays(warehouse: Warehouse) -> None:
    seconds, stopping = Seconds(), threading.Event()
    watch = Watch(stopping, now=seconds)
    for seconds.now in (0.0, 1e6):
        watch.notice(record(warehouse, kind="snapshot", step="wait", executor=""))
    assert not stopping.is_set()


def driver(rig: Rig) -> Driver:
    return Driver(functools.partial(rig.executor_of, rig.config))


def test_it_is_carried_out_once_however_often_it_is_driven(rig: Rig) -> None:
    name = rig.warehouse.planned("a", "b")
    done = [driver(rig).drive(name) for _ in range(3)]
    assert [one.state for one in done] == ["done"] * 3
    assert {one.epoch for one in done} == {1}


def test_what_was_left_is_gone_on_with(rig: Rig) -> None:
    name, first = rig.warehouse.planned("a", "b"), driver(rig)
    rig.warehouse.shelf.inside = lambda _box: first.stop()
    with pytest.raises(StoppedError):
        first.drive(name)
    assert not first.watch.has_left
    books = rig.warehouse.executor().books()
    assert books.operation(name).state == "paused"
    rig.warehouse.shelf.inside = lambda _box: None
    assert driver(rig).drive(name).state == "done"


def test_a_plan_that_may_not_begin_is_taken_out(rig: Rig) -> None:
    name = rig.warehouse.planned("a")
    with pytest.raises(OperationRefusedError, match="was approved"):
        driver(rig).drive(name, "0" * 64)
    assert rig.warehouse.executor().books().operations == {}


def test_what_has_begun_is_never_taken_out(rig: Rig) -> None:
    name = rig.warehouse.planned("a")

    def fails(_box: str) -> None:
        raise OSError("the lift is broken")

    rig.warehouse.shelf.inside = fails
    assert driver(rig).drive(name).state == "failed"
    other: Any = rig.warehouse.planned("b")
    with pytest.raises(OperationRefusedError, match=f"held by operation {name}"):
        driver(rig).drive(other)
    books = rig.warehouse.executor().books()
    assert books.operations.keys() == {name}
