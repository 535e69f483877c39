"""Plans of replays: `ReplayPlanOperator`.

Runs of a backfill come one after the other. Airflow begins as many at a time as it is told, ten
where its API is told nothing, and an application has one replay at a time. So each waits for those
before it, without a slot, and plans when all that they were to do is done: its plan would not fit
the world any more. Nobody looks on, so it waits as well for whatever else is at work.

What goes on with the state as it is begins with snapshots of it: where there are none, as behind
the replay of the run before, they are made first, in a backfill or not.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

from streamer.control.current import current_layout
from streamer.control.plans import APPLICATION
from streamer.errors import OperationRefusedError, SnapshotNeededError
from streamer.kafka.admin import Admin
from streamer_airflow.driving import Driver
from streamer_airflow.hooks.application import executor_of
from streamer_airflow.operators.failures import translated
from streamer_airflow.operators.operation import PlanOperator
from streamer_airflow.planning import latest, planned
from streamer_airflow.runs import Asked, conductor_of, is_backfill

if TYPE_CHECKING:
    from airflow.sdk import Context

    from streamer.config import Config
    from streamer.control.operations import OperationRecord
    from streamer.operations.books import Books
    from streamer.operations.executor import Executor

__all__ = ["ReplayPlanOperator"]

# Two that give way to each other do not meet again at once.
_LOOK_S = (20.0, 60.0)
_SCOPES = (APPLICATION, "snapshot")


class ReplayPlanOperator(PlanOperator):
    """Plans as ever, in a backfill when it is this run's turn, with snapshots of what is there."""

    _driver: Driver | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        if not is_backfill(context):
            return super().execute(context)
        asked = self.asked(context)
        self._give_way(asked, before=True)
        told = super().execute(context)
        # Others may have planned meanwhile. The first of them has seen nobody.
        self._give_way(asked, before=False)
        return told

    def execute_again(self, context: Context, _event: Mapping[str, Any] | None) -> dict[str, Any]:
        return self.execute(context)

    def on_kill(self) -> None:
        """Leave the snapshots in order, so that the next try need not wait for their lease."""
        if self._driver is not None:
            self._driver.stop()

    def _give_way(self, asked: Asked, *, before: bool) -> None:
        """Wait where another one is at work, without a plan of one's own that others would wait
        for. What has begun is gone on with."""
        with translated(), executor_of(self.hook.config()) as executor:
            books, own = executor.books(), latest(executor, asked)
            others = _others(books, asked, with_locks=before)
            has_begun = own is not None and own.state not in ("planned", "cancelled")
            if not others or has_begun:
                return
            if own is not None and own.state == "planned" and not executor.withdraw(own.id):
                return
        self.log.info("waits for %s; streamer operations show tells more", ", ".join(others))
        pause = timedelta(seconds=random.uniform(*_LOOK_S))
        self.defer(trigger=TimeDeltaTrigger(pause), method_name="execute_again")

    def _planned(
        self, executor: Executor, config: Config, asked: Asked, context: Context
    ) -> OperationRecord | None:
        def plan() -> OperationRecord | None:
            return planned(
                executor, config, asked, is_former=lambda one: _is_of_former_life(one, context)
            )

        try:
            return plan()
        except SnapshotNeededError as error:
            self.log.info("%s", error)
        self._make_snapshots(executor, config, asked, context)
        return plan()

    def _make_snapshots(
        self, executor: Executor, config: Config, asked: Asked, context: Context
    ) -> None:
        """Of all tasks, as an operation of this run for the layout that holds."""
        holds = current_layout(config, Admin(config))
        stage = f"state of layout {holds.number if holds else 1}"
        # Those of one that is done are gone, or the input does not go on behind them any more.
        record = planned(
            executor,
            config,
            Asked("snapshot", asked.dag, asked.run, stage),
            is_former=lambda _record: True,
        )
        assert record is not None
        opened = functools.partial(executor_of, config, conductor=conductor_of(context))
        hours = float(context["params"].get("work_hours", 0.0))
        self._driver = Driver(opened, limit_s=hours * 3600)
        made = self._driver.drive(record.id)
        if made.state != "done":
            raise OperationRefusedError(
                f"the snapshots that this begins with were not made: operation {made.id} is"
                f" {made.state}",
                hint=f"streamer operations show {made.id}",
            )


def _others(books: Books, asked: Asked, *, with_locks: bool) -> list[str]:
    """What is in the way: runs of this DAG's backfills that are not over, and with `with_locks`
    whatever else is carried out."""
    found = [
        f"operation {one.id} ({one.state}) of {one.why}"
        for one in books.operations.values()
        if one.why.startswith(asked.of_backfills)
        and not one.is_finished
        and not asked.is_own(one.why)
    ]
    for lock in map(books.lock, _SCOPES if with_locks else ()):
        name = lock.operation if lock is not None else ""
        if not name or any(f"operation {name} " in each for each in found):
            continue
        record = books.operations.get(name)
        if record is None or not asked.is_own(record.why):
            found.append(f"operation {name}")
    return found


def _is_of_former_life(record: OperationRecord, context: Context) -> bool:
    """Whether a backfill has taken a run up that was done before, as its dialog can be told to."""
    began = getattr(context.get("dag_run"), "start_date", None)
    return is_backfill(context) and began is not None and record.ended_ms < _ms(began)


def _ms(time: Any) -> int:
    return int(time.timestamp() * 1000)
