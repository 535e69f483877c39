"""A restored task whose start meets brokers that are away is started when they are back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streamer.config import Config
from streamer.errors import KafkaUnavailableError, StreamerError, TaskCorruptedError
from streamer.ids import TaskId
from streamer.task.lifecycle import TaskState
from streamer.worker import tasks as module
from streamer.worker.tasks import TaskSet

TASK = TaskId(0, 0)


class Restored:
    """A restorer that tells once that the task's restore has ended."""

    beside_processing = False

    def __init__(self, error: StreamerError | None = None) -> None:
        self._ended = [(TASK, error)]

    def finished(self) -> list[tuple[TaskId, StreamerError | None]]:
        ended, self._ended = self._ended, []
        return ended


class Active:
    task = TASK
    partitions = ()
    state = TaskState.RESTORING
    failure: StreamerError | None = None

    def abort(self) -> None: ...

    def fail(self, error: StreamerError) -> None:
        self.failure, self.state = error, TaskState.FAILED


class Tasks(TaskSet):
    """Each start goes as the next of `outcomes` says."""

    def __init__(self, restorer: Any, *outcomes: StreamerError | None) -> None:
        nothing: Any = None
        plan: Any = SimpleNamespace(config=Config(application_id="app"))
        super().__init__(
            plan, nothing, directory=nothing, pool=nothing, reader=nothing, restorer=restorer
        )
        self._outcomes = list(outcomes)
        self.active: Any = Active()
        self._tasks[TASK] = self.active

    def _start(self, active: Any) -> None:
        outcome = self._outcomes.pop(0)
        if outcome is not None:
            raise outcome
        active.state = TaskState.RUNNING


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)


def test_it_is_tried_again() -> None:
    tasks = Tasks(Restored(), KafkaUnavailableError("away"), KafkaUnavailableError("away"), None)
    states = []
    for _turn in range(3):
        tasks.start_restored()
        states.append(tasks.active.state)
    assert states == [TaskState.RESTORING, TaskState.RESTORING, TaskState.RUNNING]
    assert not tasks.start_restored()


def test_one_that_was_given_up_meanwhile_is_not() -> None:
    tasks = Tasks(Restored(), KafkaUnavailableError("away"))
    tasks.start_restored()
    del tasks._tasks[TASK]
    tasks.start_restored()
    assert not tasks.start_restored()


@pytest.mark.parametrize("error", [KafkaUnavailableError("gave up"), TaskCorruptedError("gone")])
def test_a_restore_that_failed_halts_the_task(error: StreamerError) -> None:
    tasks = Tasks(Restored(error))
    tasks.start_restored()
    assert tasks.active.failure is error
    assert not tasks.start_restored()
