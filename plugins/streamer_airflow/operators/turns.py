"""Plans of replays: `ReplayPlanOperator`.

Runs of a backfill come one after the other. Airflow begins as many at a time as its dialog says,
ten without a word, and an application has one replay at a time. So each waits for those before it,
without a slot, and plans when all that they were to do is done: its plan would not fit the world
any more.

What goes on with the state as it is begins with snapshots of it: where there are none, as behind
the replay of the run before, they are made first.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

from streamer.control.current import current_layout
from streamer.errors import OperationRefusedError, SnapshotNeededError
from streamer.kafka.admin import Admin
from streamer_airflow.driving import Driver
from streamer_airflow.hooks.application import executor_of
from streamer_airflow.operators.failures import translated
from streamer_airflow.operators.operation import PlanOperator
from streamer_airflow.planning import planned
from streamer_airflow.runs import Asked, is_backfill

if TYPE_CHECKING:
    from airflow.sdk import Context

    from streamer.config import Config
    from streamer.control.operations import OperationRecord
    from streamer.operations.executor import Executor

__all__ = ["ReplayPlanOperator"]

_LOOK = timedelta(seconds=30)


class ReplayPlanOperator(PlanOperator):
    """Plans as ever, in a backfill when it is this run's turn, with snapshots of what is there."""

    _driver: Driver | None = None

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

    def on_kill(self) -> None:
        """Leave the snapshots in order, so that the next try need not wait for their lease."""
        if self._driver is not None:
            self._driver.stop()

    def _others(self, asked: Asked) -> list[OperationRecord]:
        """Operations of other runs of backfills of this DAG that are not over."""
        with translated(), executor_of(self.hook.config()) as executor:
            operations = executor.books().operations.values()
        return [
            one
            for one in operations
            if one.why.startswith(asked.of_backfills)
            and not one.is_finished
            and not asked.is_own(one.why)
        ]

    def _wait(self) -> None:
        self.log.info("another run of the backfill is at work: this one waits for its turn")
        self.defer(trigger=TimeDeltaTrigger(_LOOK), method_name="execute_again")

    def _planned(
        self, executor: Executor, config: Config, asked: Asked, conductor: str
    ) -> OperationRecord | None:
        try:
            return super()._planned(executor, config, asked, conductor)
        except SnapshotNeededError as error:
            self.log.info("%s", error)
        self._make_snapshots(executor, config, asked, conductor)
        return super()._planned(executor, config, asked, conductor)

    def _make_snapshots(
        self, executor: Executor, config: Config, asked: Asked, conductor: str
    ) -> None:
        """Of all tasks, as an operation of this run for the layout that holds."""
        holds = current_layout(config, Admin(config))
        stage = f"state of layout {holds.number if holds else 1}"
        record = planned(executor, config, Asked("snapshot", asked.dag, asked.run, stage))
        assert record is not None
        opened = functools.partial(executor_of, config, conductor=conductor)
        self._driver = Driver(opened)
        made = self._driver.drive(record.id)
        if made.state != "done":
            raise OperationRefusedError(
                f"the snapshots that this begins with were not made: operation {made.id} is"
                f" {made.state}",
                hint=f"streamer operations show {made.id}",
            )
