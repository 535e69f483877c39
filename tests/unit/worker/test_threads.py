"""Threads beside the loop read its tasks while they change, and none of them dies in silence."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from streamer.config import Config
from streamer.ids import TaskId
from streamer.task.lifecycle import TaskState
from streamer.topology.app import App
from streamer.topology.partitions import partitions
from streamer.worker.tasks import TaskSet
from streamer.worker.upkeep import Upkeep

WAIT_S = 40


class Active:
    """A task as far as others look at it."""

    def __init__(self, number: int) -> None:
        self.task = TaskId(0, number)
        self.state = TaskState.RUNNING
        self.failure = None


def _task_set() -> Any:
    given: Any = None
    plan: Any = SimpleNamespace(config=Config(application_id="app"))
    return TaskSet(plan, given, directory=given, pool=given, reader=given, restorer=given)


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
def test_tasks_may_be_looked_at_while_they_come_and_go() -> None:
    tasks = _task_set()
    tasks._tasks = {TaskId(0, number): Active(number) for number in range(64)}
    errors: list[RuntimeError] = []
    looks, is_over = 0, threading.Event()

    def look() -> None:
        nonlocal looks
        while not is_over.is_set():
            try:
                assert len(tasks.running) >= 63
                assert tasks.failures.keys() <= {TaskId(1, 0)}
                looks += 1
            except RuntimeError as error:
                errors.append(error)

    other = threading.Thread(target=look)
    other.start()
    passing = TaskId(0, 99)
    for _ in range(200_000):
        tasks._tasks[passing] = Active(99)
        tasks.unopened[TaskId(1, 0)] = RuntimeError()
        del tasks._tasks[passing], tasks.unopened[TaskId(1, 0)]
        if errors:
            break
    is_over.set()
    other.join(WAIT_S)
    assert errors == []
    assert looks > 0


def test_upkeep_survives_what_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    app = App("app")
    app.stream("in", key=str, value=str).repartition("again").to("out")
    topology = app.topology()
    config = Config(
        application_id="app", bootstrap_servers="127.0.0.1:1", metadata_max_age_ms=1_000
    )
    tasks: Any = type("Tasks", (), {"running": []})()
    upkeep = Upkeep(topology, partitions(topology, {"in": 1}), tasks=tasks, config=config)
    turns: list[int] = []
    went_on = threading.Event()

    def check() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise RuntimeError("dictionary changed size during iteration")
        went_on.set()

    upkeep._check_topics = check  # type: ignore[method-assign]
    upkeep._interval_s = 0.01
    with caplog.at_level(logging.ERROR):
        upkeep.start()
        assert went_on.wait(WAIT_S)
        upkeep.close()
    assert upkeep.failure is None
    [line] = caplog.records
    assert line.exc_info is not None
    assert "dictionary changed size" in str(line.exc_info[1])
