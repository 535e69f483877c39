"""Operations as people are told of them: where one stands, and what to do where it stands still.

Pure. The command line and the page in Airflow say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from streamer.control.operations import FINISHED, OperationRecord, ProgressRecord
from streamer.operations.books import Books
from streamer.operations.loop import no_return_reason

__all__ = ["OperationRow", "advice", "details", "listed", "moved_ms", "state_of"]

FINISHED_SHOWN = 20
# How the conductor of a run of a DAG is named.
_AIRFLOW = "Airflow, "


class OperationRow(Struct, kw_only=True, omit_defaults=True):
    """One operation. `step` is the one at work, `at` its number from 1 of `steps`, `advice` what to
    do where nothing goes on by itself."""

    id: str
    kind: str
    state: str
    scope: str = ""
    step: str = ""
    summary: str = ""
    at: int = 0
    steps: int = 0
    done: int = 0
    is_undoing: bool = False
    progress: ProgressRecord | None = None
    by: str = ""
    why: str = ""
    note: str = ""
    trouble: str = ""
    hint: str = ""
    advice: str = ""
    can_cancel: bool = False
    planned_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0


def state_of(record: OperationRecord, *, is_live: bool) -> str:
    """Its state, and that nobody is at work where somebody should be."""
    if record.state in ("running", "cancelling") and not is_live:
        return f"{record.state}, by nobody"
    return record.state


def advice(record: OperationRecord, *, is_live: bool) -> str:
    """What to do where an operation does not go on by itself; "" where nothing is to be done."""
    if record.is_finished or is_live:
        return ""
    resume = f"streamer operations resume {record.id}"
    cancel = f"streamer operations cancel {record.id}"
    if record.state == "planned":
        return f"it has not begun: approve its plan, or give it up: {cancel}"
    if record.state == "failed":
        return f"mend the cause, then go on: {resume}; or take back what was done: {cancel}"
    if record.state == "paused":
        return f"it was stopped in order{_awaited(record)}; go on: {resume}{_unasked(record)}"
    return f"its process is gone, and another one may go on: {resume}"


def _awaited(record: OperationRecord) -> str:
    """Who goes on with it, and may be waiting for an answer."""
    if not record.conductor.startswith(_AIRFLOW):
        return ""
    return f", for {record.conductor}: see what is to be answered there, under Required actions"


def _unasked(record: OperationRecord) -> str:
    """What a command does that nobody is asked about."""
    step = record.plan.no_return
    if not step or no_return_reason(record):
        return ""
    return f", which asks nobody, also before step {step}, behind which there is no way back"


def moved_ms(record: OperationRecord) -> int:
    """When it was further than before for the last time, as far as is told."""
    active = next((one for one in record.steps if one.state in ("running", "undoing")), None)
    progress = active.progress if active is not None else None
    return (progress.moved_ms if progress is not None else 0) or record.at_ms


def listed(books: Books, now_ms: int) -> list[OperationRow]:
    """What is not finished, and the last of what is: the newest first."""
    rows = [
        _row(record, is_live=books.is_live(record.id, now_ms), is_wished=_is_wished(record, books))
        for record in books.operations.values()
    ]
    rows.sort(key=lambda row: (-max(row.started_ms, row.planned_ms), row.id))
    finished = [row.id for row in rows if row.state in FINISHED][:FINISHED_SHOWN]
    return [row for row in rows if row.state not in FINISHED or row.id in finished]


def details(books: Books, operation: str, now_ms: int) -> dict[str, Any]:
    """One operation with its plan and its steps. Raises OperationRefusedError for one that is not
    known, InternalTopicError for one that cannot be read."""
    record = books.operation(operation)
    row = _row(
        record, is_live=books.is_live(operation, now_ms), is_wished=_is_wished(record, books)
    )
    plan = record.plan
    steps = [
        {
            **_plain(step),
            "state": step.state,
            "summary": planned.summary,
            "cost": _plain(planned.cost),
        }
        for step, planned in zip(record.steps, plan.steps, strict=True)
    ]
    return {
        **_plain(row),
        "executor": record.executor,
        "epoch": record.epoch,
        "plan": {
            "id": record.plan_id,
            "cost": _plain(plan.cost),
            "no_return": plan.no_return,
            "no_return_when": plan.no_return_when,
            "lost": list(plan.lost),
            "is_past": no_return_reason(record),
        },
        "request": _shortened(record.request),
        "steps_told": steps,
        "left": list(record.left),
    }


def _row(record: OperationRecord, *, is_live: bool, is_wished: bool) -> OperationRow:
    active = next((one for one in record.steps if one.state in ("running", "undoing")), None)
    at = record.steps.index(active) if active is not None else -1
    trouble = record.trouble if not record.is_finished else None
    return OperationRow(
        id=record.id,
        kind=record.kind,
        state=state_of(record, is_live=is_live),
        scope=record.plan.scope,
        step=active.id if active is not None else "",
        summary=record.plan.steps[at].summary if active is not None else "",
        at=at + 1,
        steps=len(record.steps),
        done=sum(step.state == "done" for step in record.steps),
        is_undoing=active is not None and active.state == "undoing",
        progress=active.progress if active is not None and not record.is_finished else None,
        by=record.by,
        why=record.why,
        note=record.note,
        trouble=_trouble(record) if trouble else "",
        hint=trouble.hint if trouble else "",
        advice=advice(record, is_live=is_live),
        can_cancel=not (is_wished or no_return_reason(record))
        and (record.state == "planned" or (is_live and record.state == "running")),
        planned_ms=record.planned_ms,
        started_ms=record.started_ms,
        ended_ms=record.ended_ms,
    )


def _is_wished(record: OperationRecord, books: Books) -> bool:
    return books.cancel(record.id) is not None


def _trouble(record: OperationRecord) -> str:
    found = record.trouble
    if found is None:
        return ""
    return f"step {found.step}: {found.message}" if found.step else found.message


def _shortened(request: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, without what has no end: a trim names thousands of positions."""
    return {
        name: value if len(str(value)) <= 400 else f"{str(value)[:400]} ..."
        for name, value in request.items()
    }


def _plain(record: Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain
