"""What Airflow does in the demonstration: snapshots of a running application, a trim by them, and
other numbers of tasks.

It starts beside everything else, at a lower priority, and is needed when the events are processed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from demo.airflow.connection import CONNECTION, body, check, store
from demo.airflow.local import LocalAirflow
from demo.airflow.runs import Approval, Run, Runs, TaskState
from streamer.config import Config

__all__ = ["STORY", "Conducted", "Conductor", "Scene"]

Say = Callable[[str], None]

# The workers and the events come first, but not by much: elsewhere it would be starved.
_NICE = 3
_RUN_S = 900.0
_TOLD = ("success", "failed", "up_for_retry", "awaiting_input", "skipped", "upstream_failed")
_LINES = 12


class Scene(NamedTuple):
    """A DAG, what is filled in its form, and what it is for."""

    dag: str
    form: Mapping[str, Any]
    why: str


STORY: Sequence[Scene] = (
    Scene("snapshot_stores", {}, "a snapshot of each task, made by its worker as it goes on"),
    Scene("snapshot_stores", {}, "a second one: of files that are there already nothing is sent"),
    Scene(
        "trim_changelogs",
        {"approval": "ask"},
        "the changelogs may be shorter now: the plan, an approval, a cut",
    ),
)


# Those of the story, and what moves tasks (`demo/moving.py`).
_DAGS = frozenset({scene.dag for scene in STORY} | {"repartition"})


class Conducted(NamedTuple):
    """How a run of a DAG ended, and how many seconds it took."""

    dag: str
    state: str
    seconds: float


class Conductor:
    """The Airflow of the demonstration, in a temporary directory."""

    def __init__(self, say: Say, *, stores: Sequence[str], tasks: Sequence[str]) -> None:
        offered = {CONNECTION: {"stores": list(stores), "tasks": list(tasks)}}
        settings = {
            "streamer.choices": json.dumps(offered),
            # What runs by itself would come between the scenes.
            "streamer.schedules": "False",
        }
        self._airflow = LocalAirflow(nice=_NICE, settings=settings)
        self._say = say

    def begin(self) -> None:
        """Start it, and do not wait."""
        self._airflow.begin()
        password = self._airflow.passwords["admin"]
        self._say(f"Airflow starts beside it, at {self._airflow.url}: admin, {password}")

    def stop(self) -> None:
        self._airflow.stop()

    @property
    def logins(self) -> dict[str, str]:
        return {"Airflow": self._airflow.url} | {
            f"Airflow's {name}": f"{name}  {password}"
            for name, password in self._airflow.passwords.items()
        }

    def connect(self, config: Config) -> None:
        """Wait until it is there, and tell it of the application. Raises SandboxError, ApiError."""
        if not self._airflow.is_healthy:
            self._say("waiting for Airflow")
        self._airflow.wait()
        self._airflow.wait_for_dags(set(_DAGS))
        api, wanted = self._airflow.api(), body(config)
        store(api, wanted)
        _works, told = check(api, wanted)
        self._say(f"Airflow is at {self._airflow.url}; its connection says: {told}")
        Runs(api).unpause(*_DAGS)

    def play(self, scene: Scene, *, say: Say | None = None) -> Conducted:
        """One run, told task by task; what asks for approval gets it. `say` is for who plays it in
        a thread of its own."""
        say = say or self._say
        runs = Runs(self._airflow.api())
        began = time.monotonic()
        run = runs.trigger(scene.dag, scene.form)
        say(f"Airflow runs {scene.dag}: {scene.why}")
        state = runs.follow(
            run, timeout=_RUN_S, tells=partial(_tell, say), asks=partial(_approve, say)
        )
        if state != "success":
            _explain(runs, run, say=say)
        return Conducted(scene.dag, state, time.monotonic() - began)


def _tell(say: Say, task: TaskState) -> None:
    if task.state in _TOLD:
        index = f" {task.map_index}" if task.map_index >= 0 else ""
        say(f"  {task.task}{index}: {task.state.replace('_', ' ')}")


def _approve(say: Say, approval: Approval) -> str:
    say(f"  {approval.subject}")
    for line in approval.body.splitlines()[:_LINES]:
        if line.strip():
            say(f"    {line}")
    say("  approved by the demonstration")
    return "Approve"


def _explain(runs: Runs, run: Run, *, say: Say) -> None:
    for task in runs.tasks(run):
        if task.state == "failed":
            say(f"  the end of the log of {task.task}:")
            for line in runs.log(run, task).splitlines()[-_LINES:]:
                say(f"    {line}")
