"""Which operation belongs to which run of a DAG: pure.

An operation's id is made of the DAG, the run and the stage: so a task that is retried, cleared or
doubled finds the operation of the first try, whatever Airflow remembers. Only an operation that had
begun and was cancelled is over for good: after that a cleared run takes the next number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["Asked", "asked_by", "conductor_of", "is_backfill", "operation_id"]

_BACKFILL = "backfill"


def operation_id(kind: str, *parts: str) -> str:
    """The same for the same parts, and another one for any others."""
    digest = sha256("\0".join(parts).encode()).hexdigest()
    return f"{kind}-{digest[:16]}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a stage of a run is to do. `wanted` is what a form or a DAG says, as JSON holds it."""

    kind: str
    dag: str
    run: str
    stage: str = ""
    wanted: Mapping[str, Any] = field(default_factory=dict)

    def operation(self, number: int = 1) -> str:
        """The id of its operation; `number` counts those that were cancelled, and this one."""
        first = operation_id(self.kind, self.dag, self.run, self.stage)
        return first if number == 1 else f"{first}-{number}"

    def number_of(self, operation: str) -> int:
        """Which of its operations this is, from 1; 0 for another's."""
        first = self.operation()
        if operation == first:
            return 1
        number = operation.removeprefix(f"{first}-")
        is_own = number != operation and number.isdecimal() and number.isascii()
        return int(number) if is_own else 0

    @property
    def of_backfills(self) -> str:
        """With what `why` begins of all runs of backfills of the DAG."""
        return _named(self.dag, f"{_BACKFILL}__")

    def is_own(self, why: str) -> bool:
        """Whether that is said of an operation of this run, of whatever stage."""
        own = _named(self.dag, self.run)
        return why == own or why.startswith(f"{own}, ")

    @property
    def why(self) -> str:
        """For the operation's record: who looks later finds the run."""
        return _named(self.dag, self.run) + (f", {self.stage}" * bool(self.stage))


def conductor_of(context: Context) -> str:
    """For whom a task of this run carries something out."""
    task = context["ti"]
    return _named(task.dag_id, task.run_id)


def _named(dag: str, run: str) -> str:
    return f"Airflow, DAG {dag}, run {run}"


def asked_by(context: Context, kind: str, wanted: Mapping[str, Any], *, stage: str = "") -> Asked:
    """What a task instance asks for. Mapped ones have a `stage` of their own, which is what they
    are about, and never their index: the same form in another order is the same work."""
    task = context["ti"]
    return Asked(kind, task.dag_id, task.run_id, stage, _within(context, wanted))


def is_backfill(context: Context) -> bool:
    """Whether the run was made by Airflow's backfill."""
    run = context.get("dag_run")
    return run is not None and str(getattr(run.run_type, "value", run.run_type)) == _BACKFILL


def _within(context: Context, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A run of a backfill is about its interval, where the form names no other."""
    found = dict(wanted)
    has_form = "since" in found and "until" in found
    begin, end = context.get("data_interval_start"), context.get("data_interval_end")
    names_none = has_form and not (found["since"] or found["until"])
    if names_none and is_backfill(context) and begin is not None and end is not None:
        found |= {"since": begin.isoformat(), "until": end.isoformat()}
    return found
