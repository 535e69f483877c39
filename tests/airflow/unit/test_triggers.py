"""What waits in the triggerer: it can be made anew from what it tells, and has no secrets."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from typing import Any

import pytest
from airflow.sdk import Connection

from streamer.clock import ManualClock
from streamer.control.requests import ModeRecord, PlanRecord
from streamer.errors import KafkaUnavailableError
from streamer_airflow.driving import Driver
from streamer_airflow.triggers.operation import OperationTrigger
from streamer_airflow.triggers.rebalance import MovesTrigger
from tests.airflow.unit.rig import Rig

SECRET = "hunter2-of-kafka"


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Connection(
        conn_id="shop",
        conn_type="streamer",
        host="127.0.0.1:9",
        login="ann",
        password=SECRET,
        extra=json.dumps({"application": "app", "security_protocol": "SASL_PLAINTEXT"}),
    )

    async def get(_conn_id: str) -> Connection:
        return made

    monkeypatch.setattr("airflow.sdk.BaseHook.aget_connection", get)


@pytest.fixture
def drives(rig: Rig, connection: None, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr("streamer_airflow.triggers.operation.executor_of", rig.executor_of)
    return rig


async def first(trigger: Any) -> Any:
    return await anext(trigger.run())


@pytest.mark.parametrize(
    "trigger",
    [
        OperationTrigger("shop", "trim-1", "ab", until_ms=5, conductor="Airflow, run 1"),
        OperationTrigger("shop", "repartition-1", until="copy"),
        MovesTrigger("shop", until_ms=7),
    ],
)
def test_it_is_made_anew_from_what_it_tells(trigger: Any) -> None:
    path, given = trigger.serialize()
    module, _, name = path.rpartition(".")
    assert (module, name) == (type(trigger).__module__, type(trigger).__name__)
    assert type(trigger)(**json.loads(json.dumps(given))).serialize() == (path, given)
    assert SECRET not in repr(trigger)


def test_it_drives_an_operation_to_its_end(drives: Rig) -> None:
    name = drives.warehouse.planned("a", "b")
    event = asyncio.run(first(OperationTrigger("shop", name)))
    assert event.payload == {"operation": name, "plan_id": "", "state": "done"}
    assert drives.warehouse.executor().books().operation(name).epoch == 1


def test_the_work_of_a_stage_is_left_to_a_task(drives: Rig) -> None:
    name = drives.warehouse.planned("a", "b")
    event = asyncio.run(first(OperationTrigger("shop", name, until="a")))
    assert event.payload["state"] == "left"
    assert drives.warehouse.shelf.brought == {}
    drives.warehouse.executor().start(name)
    event = asyncio.run(first(OperationTrigger("shop", name, until="a")))
    assert event.payload["state"] == "done"


def test_two_of_them_do_it_once(drives: Rig) -> None:
    name = drives.warehouse.planned("a", "b")

    async def both() -> list[Any]:
        return await asyncio.gather(*(first(OperationTrigger("shop", name)) for _ in range(2)))

    events = asyncio.run(both())
    assert {event.payload["state"] for event in events} == {"done"}
    brought = drives.warehouse.shelf.brought
    assert brought == {"a": name, "b": name}


def test_a_triggerer_that_is_stopped_leaves_it_in_order(drives: Rig) -> None:
    name = drives.warehouse.planned("a", "b")

    async def stopped() -> None:
        inside = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wait(_box: str) -> None:
            loop.call_soon_threadsafe(inside.set)
            # Until the next check of the step finds that it is to stop.
            for _ in range(1_000):
                if cancelled.is_set():
                    return
                cancelled.wait(0.01)

        import threading

        cancelled = threading.Event()
        drives.warehouse.shelf.inside = wait
        running = asyncio.ensure_future(first(OperationTrigger("shop", name)))
        await inside.wait()
        running.cancel()
        loop.call_later(0.05, cancelled.set)
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(stopped())
    assert drives.warehouse.executor().books().operation(name).state == "paused"
    drives.warehouse.shelf.inside = lambda _box: None
    event = asyncio.run(first(OperationTrigger("shop", name)))
    assert event.payload["state"] == "done"


def test_at_its_time_it_leaves_the_operation_in_order_and_says_so(
    drives: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer_airflow.deadlines.LOOK_S", 0.2)
    name = drives.warehouse.planned("a", "b")
    drives.warehouse.shelf.inside = lambda _box: time.sleep(0.5)
    event = asyncio.run(first(OperationTrigger("shop", name, until_ms=1)))
    assert event.payload == {"operation": name, "plan_id": "", "state": "late"}
    assert drives.warehouse.executor().books().operation(name).state == "paused"


def test_a_triggerer_that_was_away_for_an_hour_finds_the_end(drives: Rig) -> None:
    name = drives.warehouse.planned("a", "b")

    def dies(_box: str) -> None:
        raise SystemExit

    # As a kill: it holds the lease, and says nothing more.
    drives.warehouse.shelf.inside = dies
    trigger = OperationTrigger("shop", name, conductor="Airflow, run 1")
    with pytest.raises(SystemExit):
        Driver(functools.partial(drives.executor_of, drives.config)).drive(name)
    books = drives.warehouse.executor().books()
    assert books.is_live(name, drives.warehouse.clock.now_ms())
    # Workers go on meanwhile: what was begun is there when Airflow is back.
    drives.warehouse.shelf.boxes |= {"a": name, "b": name}
    drives.warehouse.clock.advance(3_600_000)
    drives.warehouse.shelf.inside = lambda _box: None
    event = asyncio.run(first(trigger))
    assert event.payload["state"] == "done"
    record = drives.warehouse.executor().books().operation(name)
    assert (record.state, record.epoch, record.conductor) == ("done", 2, "Airflow, run 1")
    assert [step.begun for step in record.steps] == [1, 0, 1]
    assert drives.warehouse.shelf.brought == {"a": name}, "nothing is done twice"


def test_what_goes_wrong_is_told_and_not_raised(drives: Rig) -> None:
    event = asyncio.run(first(OperationTrigger("shop", "trim-unknown")))
    assert "there is no operation 'trim-unknown'" in event.payload["refused"]
    assert SECRET not in json.dumps(event.payload)


def test_moves_are_waited_for(connection: None, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [2, 1, 0]
    mode = ModeRecord(name="one_zone_left", until="a zone comes back")

    def plan(_config: Any) -> PlanRecord:
        return PlanRecord(controller="w1", moves_left=left.pop(0), modes=(mode,))

    monkeypatch.setattr("streamer_airflow.triggers.rebalance._plan", plan)
    monkeypatch.setattr("streamer_airflow.triggers.rebalance._LOOK_S", 0.0)
    event = asyncio.run(first(MovesTrigger("shop")))
    assert event.payload == {
        "moves_left": 0,
        "modes": ["one_zone_left: ends when a zone comes back"],
    }
    assert left == []


def test_moves_that_are_left_at_its_time_are_told(
    connection: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, left = ManualClock(1_000), [3, 3, 2]

    def plan(_config: Any) -> PlanRecord:
        clock.advance(10 * 60_000)
        return PlanRecord(controller="w1", moves_left=left.pop(0))

    monkeypatch.setattr("streamer_airflow.triggers.rebalance._plan", plan)
    monkeypatch.setattr("streamer_airflow.triggers.rebalance._LOOK_S", 0.0)
    monkeypatch.setattr("streamer_airflow.triggers.rebalance.now_ms", clock.now_ms)
    event = asyncio.run(first(MovesTrigger("shop", until_ms=30 * 60_000)))
    assert event.payload == {"moves_left": 2}
    # One that was away meanwhile sees that all is done, though its time is over.
    left[:] = [0]
    event = asyncio.run(first(MovesTrigger("shop", until_ms=30 * 60_000)))
    assert event.payload == {"moves_left": 0, "modes": []}


def test_brokers_that_stay_away_end_the_wait(
    connection: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def plan(_config: Any) -> PlanRecord:
        asked.append(1)
        raise KafkaUnavailableError("no broker answers", hint="start them")

    monkeypatch.setattr("streamer_airflow.triggers.rebalance._plan", plan)
    monkeypatch.setattr("streamer_airflow.triggers.rebalance._LOOK_S", 0.0)
    event = asyncio.run(first(MovesTrigger("shop")))
    assert event.payload == {"error": "no broker answers\nhint: start them"}
    assert len(asked) == 10
