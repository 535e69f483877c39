"""What waits in the triggerer: it can be made anew from what it tells, and has no secrets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from airflow.sdk import Connection

from streamer.control.requests import ModeRecord, PlanRecord
from streamer.errors import KafkaUnavailableError
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
    "trigger", [OperationTrigger("shop", "trim-1", "ab"), MovesTrigger("shop")]
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
    assert event.payload == {"operation": name, "state": "done"}
    assert drives.warehouse.executor().books().operation(name).epoch == 1


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
