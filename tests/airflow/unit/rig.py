"""What operators are given in unit tests: a context, and an application whose operations are those
of tests/unit/operations, on the in-memory broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from streamer.config import Config
from streamer.control.operations import OperationRecord
from streamer.operations.executor import Executor
from streamer_airflow.operators.operation import OperationOperator, PlanOperator
from streamer_airflow.operators.settle import SettleOperator
from streamer_airflow.runs import Asked
from tests.unit.operations.shelf import APPLICATION, Warehouse

__all__ = [
    "NAME",
    "Instance",
    "Rig",
    "answer",
    "context",
    "fails",
    "late_by",
    "operate",
    "planned",
    "settle",
]

NAME = Asked("shelve", "dag", "run").operation()


@dataclass
class Instance:
    """As much of a task instance as operators use."""

    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "task"
    id: str = "0190-ti"
    pushed: dict[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    def get_task_states(self, *, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        return {self.run_id: self.states}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def context(run: str = "run", **params: Any) -> Any:
    instance = Instance(run_id=run)
    return {"ti": instance, "task_instance": instance, "params": params}


def operate(**given: Any) -> OperationOperator:
    return OperationOperator(task_id="task", kind="shelve", takes=("boxes",), **given)


def planned(*boxes: str) -> Any:
    """The context of a run whose first task has planned this."""
    place = context(boxes=list(boxes))
    PlanOperator(task_id="task", kind="shelve", takes=("boxes",)).execute(place)
    return place


def settle() -> Any:
    return SettleOperator(task_id="settle", kind="shelve").execute(context())


def fails(_box: str) -> None:
    raise OSError("the lift is broken")


class Rig:
    """Stands where hooks reach an application."""

    def __init__(self, warehouse: Warehouse, monkeypatch: Any) -> None:
        self.warehouse = warehouse
        self.config = Config(application_id=APPLICATION)
        for module in ("operators.operation", "operators.approval", "operators.stages"):
            monkeypatch.setattr(f"streamer_airflow.{module}.executor_of", self.executor_of)
        hook = "streamer_airflow.hooks.application"
        monkeypatch.setattr(f"{hook}.executor_of", self.executor_of)
        monkeypatch.setattr(f"{hook}.ApplicationHook.config", lambda _hook: self.config)
        # What a form says of a trim is a survey; here it is the list of boxes.
        monkeypatch.setattr("streamer_airflow.planning._written", self._written)

    @contextmanager
    def executor_of(self, _config: Config, **given: Any) -> Iterator[Executor]:
        yield self.warehouse.executor(**given)

    @staticmethod
    def _written(
        executor: Executor, _config: Config, asked: Any, *, name: str
    ) -> OperationRecord | None:
        boxes = list(asked.wanted["boxes"])
        if not boxes:
            return None
        return executor.propose(asked.kind, {"boxes": boxes}, why=asked.why, operation=name)


def answer(chosen: str, by: str = "ann") -> dict[str, Any]:
    user = {"id": by, "name": by} if by else None
    return {
        "chosen_options": [chosen],
        "params_input": {},
        "responded_at": datetime.now(tz=UTC),
        "responded_by_user": user,
    }


def late_by(monkeypatch: Any, rig: Rig, **given: int) -> None:
    """The clock of all is that of the test, and a try that comes late has little left."""
    monkeypatch.setattr("streamer_airflow.deadlines.now_ms", rig.warehouse.clock.now_ms)
    monkeypatch.setattr("streamer_airflow.deadlines.LOOK_S", 0.05)
    rig.warehouse.clock.advance(int(timedelta(**given).total_seconds() * 1000))
