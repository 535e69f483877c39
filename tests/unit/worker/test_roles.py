"""A database is closed, exchanged and opened in the role it had; what goes wrong is its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import StateDirectoryError, StateOutdatedError, StreamerError
from streamer.ids import TaskId
from streamer.task.lifecycle import TaskState
from streamer.worker.roles import TaskRoles

TASK, COPY, FAILED, GONE = (TaskId(0, number) for number in range(4))
REFUSAL = StateDirectoryError("the disk is read-only")


class Active:
    task = TASK
    state = TaskState.RESTORING


class Standbys:
    def __init__(self, log: list[str]) -> None:
        self._log = log
        self.tasks = {COPY, FAILED}

    def close(self, tasks: Iterable[TaskId]) -> None:
        self._log.extend(f"close copy {task}" for task in tasks)

    def open(self, task: TaskId) -> None:
        self._log.append(f"open copy {task}")

    def fail(self, task: TaskId, error: StreamerError) -> None:
        self._log.append(f"fail copy {task}: {error}")

    def begin_anew(self, task: TaskId, _error: StreamerError) -> None:
        self._log.append(f"begin copy {task} anew")


class Tasks:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.active = Active()
        self.standbys = Standbys(self.log)
        self.owned = {TASK}

    def get(self, task: TaskId) -> Any:
        return self.active if task == TASK else None

    def close(self, tasks: Iterable[TaskId]) -> None:
        self.log.extend(f"close {task}" for task in tasks)

    def open(self, tasks: Iterable[TaskId]) -> None:
        self.log.extend(f"open {task}" for task in tasks)

    def cannot_open(self, task: TaskId, error: StreamerError) -> None:
        self.log.append(f"cannot open {task}: {error}")

    def fail(self, active: Active, error: StreamerError) -> None:
        self.log.append(f"fail {active.task}: {error}")


class Place:
    """The state directory and the restorer."""

    def __init__(self) -> None:
        self.lags: dict[TaskId, int] = {}
        self.refuses = False

    def put_aside(self, task: TaskId, _now_ms: int) -> Path:
        if self.refuses:
            raise REFUSAL
        return Path(f"{task}.old-1")

    def lag(self, task: TaskId) -> int | None:
        return self.lags.get(task)

    def is_current(self, _task: TaskId) -> bool:
        return False


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def roles(tasks: Any, place: Any) -> TaskRoles:
    return TaskRoles(tasks, directory=place, restorer=place, lag_max=10)


def refuse() -> None:
    raise REFUSAL


def test_each_comes_back_in_its_role(roles: TaskRoles, tasks: Tasks) -> None:
    for task in (TASK, COPY, FAILED, GONE):
        roles.reopen(task, lambda: tasks.log.append("exchange"))
    assert tasks.log == [
        *("close 0_0", "exchange", "open 0_0"),
        *("close copy 0_1", "exchange", "open copy 0_1"),
        *("close copy 0_2", "exchange", "open copy 0_2"),
    ]


def test_an_exchange_that_fails_opens_nothing(roles: TaskRoles, tasks: Tasks) -> None:
    roles.reopen(TASK, refuse)
    roles.reopen(COPY, refuse)
    assert tasks.log == [
        *("close 0_0", "cannot open 0_0: the disk is read-only"),
        *("close copy 0_1", "fail copy 0_1: the disk is read-only"),
    ]


def test_an_old_state_is_put_aside(roles: TaskRoles, tasks: Tasks, place: Place) -> None:
    roles.restore_whole(TASK, StateOutdatedError("too old"))
    roles.restore_whole(COPY, StateOutdatedError("too old"))
    assert tasks.log == ["close 0_0", "open 0_0", "close copy 0_1", "begin copy 0_1 anew"]
    tasks.log.clear()
    place.refuses = True
    roles.restore_whole(TASK, StateOutdatedError("too old"))
    assert tasks.log == ["close 0_0", "cannot open 0_0: the disk is read-only"]


def test_who_may_be_exchanged_and_who_serves(roles: TaskRoles, tasks: Tasks, place: Place) -> None:
    assert [roles.is_open_for_restore(task) for task in (TASK, COPY, FAILED, GONE)] == [
        *(True, True, True, False)
    ]
    assert not roles.is_serving(TASK)
    tasks.active.state = TaskState.RUNNING
    assert not roles.is_open_for_restore(TASK)
    assert roles.is_serving(TASK)
    assert not roles.is_serving(COPY)
    place.lags[COPY] = 11
    assert not roles.is_serving(COPY)
    place.lags[COPY] = 10
    assert roles.is_serving(COPY)


def test_what_is_given_up_has_failed(roles: TaskRoles, tasks: Tasks) -> None:
    for task in (TASK, COPY, GONE):
        roles.give_up(task, REFUSAL)
    assert tasks.log == [
        "fail 0_0: the disk is read-only",
        *("close copy 0_1", "fail copy 0_1: the disk is read-only"),
    ]
