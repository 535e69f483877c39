"""Runs are followed to their end, and what asks is answered once."""

from __future__ import annotations

from typing import Any

import pytest

from demo.airflow import runs as module
from demo.airflow.runs import Approval, Run, Runs, TaskState

RUN = Run("trim", "manual__2026-01-01T00:00:00+00:00")


class Script:
    """An API whose answers are those of a run that goes on by a step at each look."""

    def __init__(self, states: list[dict[str, str]]) -> None:
        self.states = states
        self.looks = 0
        self.answers: list[Any] = []

    @property
    def now(self) -> dict[str, str]:
        return self.states[min(self.looks, len(self.states) - 1)]

    def get(self, path: str, **_query: object) -> Any:
        if path == RUN.path:
            return {"state": self.now["run"]}
        if path.endswith("/taskInstances"):
            found = [
                {"task_id": name, "map_index": -1, "state": state, "try_number": 1}
                for name, state in self.now.items()
                if name != "run"
            ]
            self.looks += 1
            return {"task_instances": found, "total_entries": len(found)}
        assert path.endswith("/hitlDetails")
        waits = self.states[self.looks - 1].get("approve") == "awaiting_input"
        task = {"task_id": "approve", "map_index": -1, "state": "awaiting_input"}
        one = {"task_instance": task, "subject": "trim?", "body": None, "options": ["Approve"]}
        return {"hitl_details": [one] if waits and not self.answers else []}

    def patch(self, path: str, body: object) -> None:
        self.answers.append((path.removeprefix(RUN.path), body))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0)
    monkeypatch.setattr(module, "_READ_S", 0)


def test_a_run_is_followed_and_its_question_answered_once() -> None:
    script = Script(
        [
            {"run": "queued", "plan": "queued"},
            {"run": "running", "plan": "success", "approve": "awaiting_input"},
            {"run": "running", "plan": "success", "approve": "awaiting_input"},
            {"run": "success", "plan": "success", "approve": "success"},
        ]
    )
    told: list[TaskState] = []
    asked: list[Approval] = []

    def answer(approval: Approval) -> str:
        asked.append(approval)
        return "Approve"

    state = Runs(script).follow(RUN, timeout=5, tells=told.append, asks=answer)  # type: ignore[arg-type]
    assert state == "success"
    assert [(one.task, one.state) for one in told] == [
        ("plan", "queued"),
        ("plan", "success"),
        ("approve", "awaiting_input"),
        ("approve", "success"),
    ]
    assert [one.subject for one in asked] == ["trim?"]
    assert script.answers == [
        (
            "/taskInstances/approve/-1/hitlDetails",
            {"chosen_options": ["Approve"], "params_input": {}},
        )
    ]


def test_one_that_does_not_end_is_told_with_its_tasks() -> None:
    script = Script([{"run": "running", "plan": "running"}])
    with pytest.raises(TimeoutError, match=r"trim is running after 0\.01 s: plan: running"):
        Runs(script).follow(RUN, timeout=0.01)  # type: ignore[arg-type]


def test_ids_with_signs_stand_in_paths() -> None:
    assert RUN.path == "/dags/trim/dagRuns/manual__2026-01-01T00%3A00%3A00%2B00%3A00"
