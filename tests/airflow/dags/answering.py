"""Answers to the questions of a run of `DAG.test`, given by its own thread before each of its looks
at the run.

One that came from beside it could come while `DAG.test` parks the task, which writes over what was
answered: the task fails, asks once more, and waits for ever. And a question that nobody has
expected fails the test at once, which else would stand still for as long as there is to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

__all__ = ["Answers", "Choice", "answering"]

Choice = str | Callable[[], str]
"""One that is called looks at the world when it is asked."""

Answers = Mapping[str, Choice | Sequence[Choice]]
"""By the task that asks: what is said to its questions, one after the other; the last one to all
that follow, as where the world has moved and a task asks once more."""


class Person:
    """Who answers."""

    def get_id(self) -> str:
        return "ann"

    def get_name(self) -> str:
        return "Ann"


@contextmanager
def answering(answers: Answers) -> Iterator[None]:
    """For one run of `DAG.test`; when it ends, each answer has been asked for."""
    from airflow.models.dagrun import DagRun

    left: dict[str, list[Choice]] = {
        task: [given] if isinstance(given, str) or callable(given) else list(given)
        for task, given in answers.items()
    }
    unasked = {task: len(choices) for task, choices in left.items()}
    looked = DagRun.update_state

    def update_state(run: Any, *args: Any, **named: Any) -> Any:
        for task in _answer(run, left):
            unasked[task] -= 1
        return looked(run, *args, **named)

    with patch.object(DagRun, "update_state", update_state):
        yield
    assert all(number <= 0 for number in unasked.values()), f"nobody has asked: {unasked}"


def _answer(run: Any, left: Mapping[str, list[Choice]]) -> list[str]:
    """The tasks whose question was answered."""
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    waiting = select(TaskInstance.task_id).where(
        TaskInstance.dag_id == run.dag_id,
        TaskInstance.run_id == run.run_id,
        TaskInstance.state == TaskInstanceState.AWAITING_INPUT,
    )
    # A session of its own: DAG.test has one open, which would be closed with it.
    with create_session(scoped=False) as session:
        asking = list(session.scalars(waiting).all())
        for task in asking:
            choices = left.get(task)
            assert choices, f"task {task} of {run.dag_id} asks, and nobody is there to answer"
            choice = choices.pop(0) if len(choices) > 1 else choices[0]
            chosen = choice if isinstance(choice, str) else choice()
            update_hitl_detail(
                dag_id=run.dag_id,
                dag_run_id=run.run_id,
                task_id=task,
                update_hitl_detail_payload=UpdateHITLDetailPayload(
                    chosen_options=[chosen], params_input={}
                ),
                user=Person(),
                session=session,
            )
    return asking
