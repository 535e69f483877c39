"""One unit for each task that a form names, to be mapped over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from streamer_airflow.operators.operation import StreamerOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["TargetsOperator"]


class TargetsOperator(StreamerOperator):
    """`[{"task": "0_3", "stage": "0_3"}, ...]`, of the field `tasks`."""

    def execute(self, context: Context) -> list[dict[str, str]]:
        tasks = sorted(set(context["params"]["tasks"]))
        if not tasks:
            raise AirflowFailException(
                "no task is named\nhint: trigger it with a form, and name one such as 0_3;"
                " streamer show tasks has all of them"
            )
        return [{"task": task, "stage": task} for task in tasks]
