"""Who runs which task and who keeps copies, as queries look it up, without Kafka."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import TaskInfo, WorkerInfo
from streamer.errors import KafkaUnavailableError
from streamer.ids import TaskId
from streamer.worker import owners as owners_module
from streamer.worker.owners import Owners

TASK = TaskId(0, 0)


def worker(name: str, *, is_alive: bool = True, address: str = "") -> WorkerInfo:
    return WorkerInfo(
        worker=name,
        incarnation=f"{name}s.0",
        is_alive=is_alive,
        is_controller=False,
        address=address or f"{name}:8080",
        zone="",
        assigned=(),
        tasks=(),
        lag_records=None,
        status_age_ms=0,
    )


class Told:
    """A `Control` that says what a test wants it to."""

    workers_said: list[WorkerInfo]
    copies_said: dict[str, int | None]
    is_away: bool
    readings: int

    def __init__(self, _config: Config, *, reads_assignments: bool) -> None:
        assert not reads_assignments, "a large fleet has a partition of them for each worker"
        if Told.is_away:
            raise KafkaUnavailableError("the brokers do not answer")

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is open."""

    def workers(self) -> list[WorkerInfo]:
        Told.readings += 1
        return Told.workers_said

    def tasks(self) -> list[TaskInfo]:
        return [
            TaskInfo(
                task="0_0",
                worker="owner",
                state="running",
                lag_records=0,
                restore_left_records=0,
                positions={},
                is_moving=False,
                standbys=Told.copies_said,
            )
        ]


@pytest.fixture
def owners(monkeypatch: Any) -> Iterator[Owners]:
    """Those of the worker `me`."""
    Told.workers_said = [worker(name) for name in ("owner", "me", "b", "c", "d")]
    Told.copies_said = {}
    Told.is_away = False
    Told.readings = 0
    monkeypatch.setattr(owners_module, "Control", Told)
    monkeypatch.setattr(owners_module, "_REFRESH_S", 0.02)
    found = Owners(Config(application_id="spend", worker_id="me"))
    found.start()
    yield found
    found.close()


def test_copies_are_those_of_others_with_a_known_lag_the_least_first(owners: Owners) -> None:
    Told.workers_said = [
        *(worker(name) for name in ("owner", "me", "b", "c", "d")),
        worker("gone", is_alive=False),
    ]
    Told.copies_said = {"me": 0, "b": 70, "c": 3, "d": None, "gone": 1}
    assert owners.owner(TASK) == "owner:8080"
    assert owners.standbys(TASK) == [("c:8080", 3), ("b:8080", 70)]
    assert owners.standbys(TaskId(0, 1)) == []


def test_an_owner_that_is_gone_is_none_while_its_copies_are_still_known(owners: Owners) -> None:
    Told.workers_said = [worker("owner", is_alive=False), worker("b")]
    Told.copies_said = {"b": 5}
    assert (owners.owner(TASK), owners.standbys(TASK)) == (None, [("b:8080", 5)])


def test_nothing_is_read_before_somebody_asks_and_then_again_and_again(owners: Owners) -> None:
    time.sleep(0.1)
    assert Told.readings == 0
    Told.copies_said = {"b": 5}
    assert owners.standbys(TASK) == [("b:8080", 5)]
    Told.copies_said = {"b": 6}
    ends = time.monotonic() + 30
    while owners.standbys(TASK) != [("b:8080", 6)]:
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.slow
def test_where_brokers_are_away_queries_wait_for_the_first_map_once(
    owners: Owners, monkeypatch: Any
) -> None:
    monkeypatch.setattr(owners_module, "_FIRST_S", 3.0)
    Told.is_away = True
    began = time.monotonic()
    assert owners.owner(TASK) is None
    assert 2.9 < time.monotonic() - began < 20
    began = time.monotonic()
    assert [owners.owner(TASK), *owners.standbys(TASK)] == [None]
    assert time.monotonic() - began < 2.8
    Told.is_away = False
    ends = time.monotonic() + 30
    while owners.owner(TASK) != "owner:8080":
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_what_nobody_asks_for_is_not_read_any_more(owners: Owners, monkeypatch: Any) -> None:
    monkeypatch.setattr(owners_module, "_IDLE_S", 0.1)
    assert owners.owner(TASK) == "owner:8080"
    ends = time.monotonic() + 30
    while owners._is_wanted.is_set():
        assert time.monotonic() < ends
        time.sleep(0.01)
    before = Told.readings
    time.sleep(0.1)
    assert Told.readings == before
    assert owners.owner(TASK) == "owner:8080"


def test_many_may_ask_at_once(owners: Owners) -> None:
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(owners.owner(TASK))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == ["owner:8080"] * 16
