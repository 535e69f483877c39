"""DAG runs by the REST API: triggered, followed to their end, approved where they ask."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from demo.airflow.rest import Api, ApiError

__all__ = ["Approval", "Run", "Runs", "TaskState"]

_OVER = ("success", "failed")
_PAGE = 100
_LOOK_S = 1.0
# A task that is answered in the moment in which it parks is taken for lost by Airflow's scheduler,
# and tried again (its issue 67287). Nobody reads a plan as fast as a program.
_READ_S = 4.0


class Run(NamedTuple):
    """One run of a DAG."""

    dag: str
    id: str

    @property
    def path(self) -> str:
        return f"/dags/{self.dag}/dagRuns/{urllib.parse.quote(self.id, safe='')}"


class TaskState(NamedTuple):
    """One task of a run; `map_index` is -1 where it is not mapped, `state` "none"
    before it is due."""

    task: str
    map_index: int
    state: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Approval:
    """A task that waits for a person: what it asks, and what may be answered."""

    task: str
    map_index: int
    subject: str
    body: str
    options: tuple[str, ...]


class Runs:
    """The runs of one Airflow, as one user. Raises ApiError. Times are seconds."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def unpause(self, *dags: str) -> None:
        """A paused DAG's runs wait; a new one is paused."""
        for dag in dags:
            self._api.patch(f"/dags/{dag}?update_mask=is_paused", {"is_paused": False})

    def trigger(self, dag: str, form: Mapping[str, Any] | None = None, *, run_id: str = "") -> Run:
        """As the form in the UI does it; what `form` leaves out has the form's own value."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(form or {})}
        if run_id:
            body["dag_run_id"] = run_id
        return Run(dag, self._api.post(f"/dags/{dag}/dagRuns", body)["dag_run_id"])

    def state(self, run: Run) -> str:
        """`queued`, `running`, `success` or `failed`."""
        return str(self._api.get(run.path)["state"])

    def tasks(self, run: Run) -> list[TaskState]:
        """Its tasks with their states, all of a mapped one."""
        found: list[TaskState] = []
        while True:
            page = self._api.get(f"{run.path}/taskInstances", limit=_PAGE, offset=len(found))
            found += [
                TaskState(
                    one["task_id"], one["map_index"], one["state"] or "none", one["try_number"]
                )
                for one in page["task_instances"]
            ]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def log(self, run: Run, task: TaskState) -> str:
        """What one attempt of a task has logged."""
        path = f"{run.path}/taskInstances/{task.task}/logs/{task.attempt}"
        found = self._api.get(path, map_index=task.map_index, full_content="true")["content"]
        return "\n".join(one["event"] if isinstance(one, dict) else str(one) for one in found)

    def approvals(self, run: Run) -> list[Approval]:
        """What waits for an answer."""
        found = self._api.get(f"{run.path}/hitlDetails", response_received="false")
        return [
            Approval(
                task=one["task_instance"]["task_id"],
                map_index=one["task_instance"]["map_index"],
                subject=one["subject"],
                body=one["body"] or "",
                options=tuple(one["options"]),
            )
            for one in found["hitl_details"]
            if one["task_instance"]["state"] in ("awaiting_input", "deferred")
        ]

    def answer(self, run: Run, approval: Approval, option: str = "Approve") -> None:
        path = f"{run.path}/taskInstances/{approval.task}/{approval.map_index}/hitlDetails"
        self._api.patch(path, {"chosen_options": [option], "params_input": {}})

    def follow(
        self,
        run: Run,
        *,
        timeout: float,
        tells: Callable[[TaskState], None] = lambda _task: None,
        asks: Callable[[Approval], str] | None = None,
    ) -> str:
        """Until it is over; its state. `tells` hears of every change of a task, `asks` answers
        approvals by one of their options. Raises TimeoutError, with the states of its tasks."""
        deadline = time.monotonic() + timeout
        seen: dict[tuple[str, int], TaskState] = {}
        waiting: dict[Approval, float] = {}
        state = "queued"
        while True:
            # An Airflow that is busy, or whose API is started again, answers later.
            try:
                state = self._look(run, seen, tells)
                if state in _OVER:
                    return state
                if asks is not None:
                    self._answer_all(run, waiting, asks)
            except ApiError as error:
                if error.status:
                    raise
            if time.monotonic() > deadline:
                states = ", ".join(f"{one.task}: {one.state}" for one in seen.values())
                raise TimeoutError(f"{run.dag} is {state} after {timeout:g} s: {states}")
            time.sleep(_LOOK_S)

    def _look(
        self, run: Run, seen: dict[tuple[str, int], TaskState], tells: Callable[[TaskState], None]
    ) -> str:
        """The state of a run; what has changed of its tasks is told."""
        state = self.state(run)
        for task in self.tasks(run):
            if seen.get(task[:2]) != task:
                seen[task[:2]] = task
                tells(task)
        return state

    def _answer_all(
        self, run: Run, waiting: dict[Approval, float], asks: Callable[[Approval], str]
    ) -> None:
        """`waiting` has what was seen before, and since when."""
        found = self.approvals(run)
        for approval in [one for one in waiting if one not in found]:
            del waiting[approval]
        for approval in found:
            since = waiting.setdefault(approval, time.monotonic())
            if time.monotonic() - since >= _READ_S:
                self.answer(run, approval, asks(approval))
