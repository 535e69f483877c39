"""Operations as their records tell them, through the codecs."""

from __future__ import annotations

from typing import Any

from streamer.control.operations import (
    FORMAT,
    LockRecord,
    OperationRecord,
    ProgressRecord,
    StepRecord,
    TroubleRecord,
    encode,
    lock_key,
    operation_key,
    plan_key,
)
from streamer.control.plans import PLAN_FORMAT, Cost, Plan, PlannedStep
from streamer.operations.books import Books, read_books
from tests.unit.overview.fleets import APPLICATION, NOW_MS

STEPS = ("hold", "cut", "release")
PROGRESS = ProgressRecord(
    phase="files", number=1, of=3, bytes_done=300, bytes_total=1_000, bytes_per_s=50, eta_s=14
)


def plan(kind: str = "trim") -> Plan:
    return Plan(
        format=PLAN_FORMAT,
        kind=kind,
        steps=tuple(
            PlannedStep(id=name, summary=f"{name} it", cost=Cost(bytes=7)) for name in STEPS
        ),
        cost=Cost(bytes=21, seconds=90),
        no_return="cut",
        lost=("older records",),
    )


def operation(name: str, *, state: str = "running", at: int = 0, **fields: Any) -> OperationRecord:
    """One whose step number `at` is under way, where it has begun and is not over."""
    made = plan(fields.pop("kind", "trim"))
    has_begun = state not in ("planned",)
    is_over = state in ("done", "cancelled")
    steps = []
    for number, each in enumerate(made.steps):
        step = StepRecord(id=each.id)
        if state == "done" or (has_begun and number < at):
            step = StepRecord(
                id=each.id, state="done", begun=1, started_ms=5, ended_ms=2_005, said="it is"
            )
        elif has_begun and not is_over and number == at:
            step = StepRecord(id=each.id, state="running", begun=1, started_ms=5, progress=PROGRESS)
        steps.append(step)
    trouble = TroubleRecord(message="no answer", hint="ask again", step="hold", at_ms=NOW_MS)
    told: dict[str, Any] = {
        "by": "ann@host",
        "planned_ms": NOW_MS - 60_000,
        "started_ms": NOW_MS - 50_000 if has_begun else 0,
        "ended_ms": NOW_MS - 10_000 if is_over else 0,
        "trouble": trouble if state == "failed" else None,
        "epoch": 1 if has_begun else 0,
        "at_ms": NOW_MS,
    }
    return OperationRecord(
        format=FORMAT,
        application=APPLICATION,
        id=name,
        kind=made.kind,
        plan=made,
        plan_id=made.id,
        state=state,  # type: ignore[arg-type]
        steps=tuple(steps),
        **{**told, **fields},
    )


def books_of(*records: OperationRecord, live: str = "") -> Books:
    rows = {
        (plan_key if one.state == "planned" else operation_key)(one.id): encode(one)
        for one in records
    }
    if live:
        lock = LockRecord(
            format=FORMAT, application=APPLICATION, scope="application", epoch=1,
            operation=live, kind="trim", owner="somebody", lease_ms=30_000, at_ms=NOW_MS,
        )  # fmt: skip
        rows[lock_key("application")] = encode(lock)
    return read_books(APPLICATION, rows)
