"""What operators ask for in a life, sensible or not, and what must hold of what they stopped."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from streamer.cluster.events import Write
from streamer.cluster.state import State
from streamer.control.messages import AssignmentRecord
from streamer.control.requests import (
    Answer,
    DrainRecord,
    PlanRecord,
    ProposalRecord,
    ProposeRecord,
    RebalanceRecord,
    Request,
)

Log = Sequence[Request | Answer]


def request(asks: random.Random, log: Log, *, number: str) -> Request:
    match asks.choice(("drain", "drain", "fill", "propose", "apply", "stop")):
        case "drain":
            return _drain(asks, log, number, worker=f"w{asks.randrange(5)}")
        case "fill":
            return DrainRecord(number=number)
        case "propose":
            return ProposeRecord(number=number)
        case "stop":
            return RebalanceRecord(number=number, stops=True, drain=_drained(log).name)
    made = ["none", *(each.id for each in log if isinstance(each, ProposalRecord))]
    return RebalanceRecord(number=number, id=made[-1])


def _drain(asks: random.Random, log: Log, number: str, *, worker: str) -> DrainRecord:
    """Of this worker alone; or beside what is drained, where what was stopped stays so."""
    if asks.random() < 0.5:
        return DrainRecord(number=number, workers=(worker,))
    now = _drained(log)
    halted = [each.halted for each in log if isinstance(each, PlanRecord)]
    stopped = sorted(now.stopped(halted[-1] if halted else "") - {worker})
    workers = sorted({worker, *now.workers})
    return DrainRecord(number=number, workers=tuple(workers), kept=tuple(stopped))


def _drained(log: Log) -> DrainRecord:
    drains = [each for each in log if isinstance(each, DrainRecord)]
    return drains[-1] if drains else DrainRecord()


def check_held(
    state: State,
    written: Write,
    before: Mapping[str, AssignmentRecord | None],
    describe: Callable[[], str],
) -> None:
    """What was stopped stays so: those whose drain it was are deprived of nothing, but by a plan
    that somebody has approved; and the next controller knows of it."""
    plan, told = state.plan, written.plan
    if told is not None:
        assert (told.drain, told.halted) == (plan.drains.answered, plan.drains.halted)
    if state.wishes.outcome[1] == "adopted":
        return
    for record in written.records:
        had = before.get(record.worker)
        is_same = had is not None and had.incarnation == record.incarnation
        if had and is_same and record.worker in plan.drained - plan.leaving:
            taken = set(had.tasks) - set(record.tasks)
            assert record.ended or not taken, (
                f"{sorted(taken)} are taken from {record.worker}, whose drain was stopped:"
                f" {describe()}"
            )
