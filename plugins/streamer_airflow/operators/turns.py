"""Runs of a backfill one after the other: `TurnPlanOperator`.

Airflow begins as many of them at a time as its dialog says, ten without a word, and an application
has one replay at a time. So each waits for those before it, without a slot, and plans when all that
they were to do is done: its plan would not fit the world any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

from streamer_airflow.hooks.application import executor_of
from streamer_airflow.operators.failures import translated
from streamer_airflow.operators.operation import PlanOperator
from streamer_airflow.runs import is_backfill

if TYPE_CHECKING:
    from airflow.sdk import Context

    from streamer.control.operations import OperationRecord
    from streamer_airflow.runs import Asked

__all__ = ["TurnPlanOperator"]

_LOOK = timedelta(seconds=30)


class TurnPlanOperator(PlanOperator):
    """Plans as ever, and in a backfill when it is this run's turn."""

    def execute(self, context: Context) -> dict[str, Any]:
        if not is_backfill(context):
            return super().execute(context)
        asked = self.asked(context)
        if self._others(asked):
            self._wait()
        told = super().execute(context)
        # Two that have planned at a time see each other: the first by its id goes on.
        if any(one.id < told["operation"] for one in self._others(asked)):
            with translated(), executor_of(self.hook.config()) as executor:
                is_taken_back = executor.withdraw(told["operation"])
            if is_taken_back:
                self._wait()
        return told

    def execute_again(self, context: Context, _event: Mapping[str, Any] | None) -> dict[str, Any]:
        return self.execute(context)

    def _others(self, asked: Asked) -> list[OperationRecord]:
        """Operations of other runs of backfills of this DAG that are not over."""
        with translated(), executor_of(self.hook.config()) as executor:
            operations = executor.books().operations.values()
        return [
            one
            for one in operations
            if one.why.startswith(asked.of_backfills)
            and not one.is_finished
            and not asked.number_of(one.id)
        ]

    def _wait(self) -> None:
        self.log.info("another run of the backfill is at work: this one waits for its turn")
        self.defer(trigger=TimeDeltaTrigger(_LOOK), method_name="execute_again")
