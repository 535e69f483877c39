"""How long the work of a stage may take, in all its tries together.

It is counted from when the work began, as its record in Kafka says: a try that comes later begins
no new time. Who clears a run that has ended gives it the time once more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from streamer.operations.words import span

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["HOURS", "LOOK_S", "Deadline", "deadline", "now_ms"]

HOURS = 12.0
# A plan's estimate is one of a quiet day.
_OF_ESTIMATE = 3
# Also after its time a try looks whether the work was done meanwhile, such as while Airflow was
# away; and a step that is done by then goes through.
LOOK_S = 60.0
# The trigger ends by itself. Airflow's own limit is for one that hangs, or that nobody runs.
_AFTER = timedelta(minutes=10)


def now_ms() -> int:
    """By the clock of this host."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Deadline:
    """`until_ms` is a time of the clock, `allowed_s` how long is allowed in all."""

    until_ms: int
    allowed_s: int

    @property
    def left_s(self) -> float:
        """From now on; enough for a look where nothing is left."""
        return max((self.until_ms - now_ms()) / 1000, LOOK_S)

    @property
    def is_over(self) -> bool:
        return now_ms() >= self.until_ms

    @property
    def timeout(self) -> timedelta:
        """After which Airflow may take what waits for lost."""
        return timedelta(seconds=self.left_s) + _AFTER

    @property
    def allowed(self) -> str:
        return span(self.allowed_s)


def deadline(context: Context, began_ms: int, *, hours: str, estimate_s: int = 0) -> Deadline:
    """Of work that began then, 0 where it has yet to. `hours` names the field of the form that says
    how long it may take; what a plan expects may take longer."""
    params: Mapping[str, Any] = context["params"]
    said = float(params[hours]) if hours in params else HOURS
    allowed_s = max(int(said * 3600), _OF_ESTIMATE * estimate_s)
    run = context.get("dag_run")
    began = getattr(run, "start_date", None)
    run_ms = int(began.timestamp() * 1000) if began is not None else 0
    counted_ms = max(began_ms, run_ms) if began_ms else now_ms()
    return Deadline(counted_ms + allowed_s * 1000, allowed_s)
