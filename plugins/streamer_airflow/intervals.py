"""`OnDemandIntervals`: for a DAG that nothing schedules, and of which Airflow's own dialog for
backfills makes runs that have intervals all the same.

The scheduler asks with `catchup=False`, as the DAG is, and a backfill with True (seen in Airflow
3.3): so nobody may set `catchup=True` for such a DAG, or all of the past would be made up for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.exceptions import AirflowTimetableInvalid
from airflow.timetables.interval import CronDataIntervalTimetable

from streamer_airflow.settings import replay_interval

if TYPE_CHECKING:
    from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction

__all__ = ["OnDemandIntervals", "configured"]


class OnDemandIntervals(CronDataIntervalTimetable):
    """Intervals by a cron expression, for backfills alone."""

    @property
    def summary(self) -> str:
        return f"on demand ({self._expression})"

    def next_dagrun_info(
        self,
        *,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
    ) -> DagRunInfo | None:
        if not restriction.catchup:
            return None
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )


def configured() -> OnDemandIntervals:
    """As the administrator has set it. Raises ValueError, which shows as an import error of the
    DAG, for what is no interval."""
    wanted = replay_interval()
    found = OnDemandIntervals(wanted, timezone="UTC")
    try:
        found.validate()
    except AirflowTimetableInvalid as error:
        raise ValueError(
            f"[streamer] replay_interval is {wanted!r}, which is no interval: {error}; write one as"
            " cron has it, such as @daily or 0 * * * *"
        ) from error
    return found
