"""The operation of a run: found, or planned and written down once.

A plan that nobody has started is made anew where the world is another one by now; one that has
begun is what it is. Where another operation holds what this one needs, nothing is left behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.operations import OperationRecord
from streamer.control.plans import APPLICATION
from streamer.errors import ConfigError, OperationRefusedError
from streamer.operations.books import Books
from streamer.operations.executor import Executor
from streamer.operations.readiness import check_free, fits
from streamer.operations.repartition.request import Asked as Repartition
from streamer.operations.repartition.reverting import newest_done, revert
from streamer.operations.repartition.survey import survey, told_topology, wished
from streamer.operations.replay.survey import survey as survey_replay
from streamer.operations.trim.kind import open_world
from streamer.operations.trim.proposing import propose_trim
from streamer.operations.trim.survey import Survey
from streamer.operations.trim.surveying import surveyed
from streamer_airflow.runs import Asked

__all__ = ["PLAN_ANEW", "attached", "latest", "planned", "weighed"]

_log = logging.getLogger(__name__)

# A large fleet has thousands of partitions; `streamer trim plan` shows them all.
_NAMED_MAX = 50

PLAN_ANEW = "clear the run from its first task: it looks at the world as it is then, and plans anew"
"""What to do where a run cannot go on with its plan."""


def planned(
    executor: Executor,
    config: Config,
    asked: Asked,
    *,
    is_former: Callable[[OperationRecord], bool] = lambda _record: False,
) -> OperationRecord | None:
    """The operation of this stage of this run; None where there is nothing to be done. Only for
    tasks that plan or ask: after a person's word nothing is planned that nobody has seen. One that
    is done and `is_former` was of another life of the run: it is planned once more.

    Raises OperationRefusedError where another operation is at work, with who has it, or where what
    is asked for makes no sense; and then no plan is left.
    """
    known = latest(executor, asked)
    if known is not None and known.state == "planned" and "reverts" in known.request:
        # What it takes back is what was shown, also where it is planned anew.
        asked = replace(asked, wanted={**asked.wanted, "reverts": known.request["reverts"]})
    if known is not None and known.state == "done" and is_former(known):
        known = None
    elif known is not None and known.state == "cancelled":
        # One that never began has left nothing: its name can be used again.
        known = None if known.epoch or executor.withdraw(known.id) else latest(executor, asked)
    elif known is not None and known.state == "planned" and not fits(executor, known):
        _log.info("plan %s does not fit the world any more: planned anew", known.plan_id[:12])
        known = None if executor.withdraw(known.id) else latest(executor, asked)
    if known is not None and known.state != "planned":
        _log.info("operation %s of this run is %s: attached to it", known.id, known.state)
        return known
    record = known or _proposed(executor, config, asked)
    if record is None:
        return None
    try:
        check_free(executor, record.plan.scope, record.id)
    except OperationRefusedError:
        executor.withdraw(record.id)
        raise
    _log.info("operation %s, plan %s", record.id, record.plan_id[:12])
    return record


def attached(executor: Executor, asked: Asked) -> OperationRecord:
    """The operation that an earlier task of this run has planned. Raises OperationRefusedError
    where there is none to go on with: it is planned anew by who plans, and by nobody else."""
    known = latest(executor, asked)
    if known is None:
        raise OperationRefusedError(
            "this run has no plan: it was taken out, or never made", hint=PLAN_ANEW
        )
    if known.state == "cancelled":
        note = f": {known.note}" if known.note else ""
        raise OperationRefusedError(f"operation {known.id} was cancelled{note}", hint=PLAN_ANEW)
    return known


def latest(executor: Executor, asked: Asked) -> OperationRecord | None:
    """The newest operation of this stage of this run, whatever became of it; those before it may be
    forgotten by now."""
    books = executor.books()
    number = _last(books, asked)
    return books.operation(asked.operation(number)) if number else None


def _last(books: Books, asked: Asked) -> int:
    return max((asked.number_of(name) for name in books.ids()), default=0)


def weighed(config: Config, record: OperationRecord) -> int:
    """About how many bytes of state it is about, as workers tell at this moment. No part of a plan
    of a running application, which would be another one each second."""
    if record.kind == "rebuild":
        tasks = {record.plan.scope.removeprefix("task/")}
    elif record.kind == "snapshot":
        tasks = set(record.plan.steps[0].parameters["tasks"])
    else:
        return record.plan.cost.bytes
    with Control(config, reads_assignments=False) as control:
        reports = control.reports()
    return sum(report.bytes for task, (_worker, report) in reports.items() if task in tasks)


def _proposed(executor: Executor, config: Config, asked: Asked) -> OperationRecord | None:
    name = asked.operation(_last(executor.books(), asked) + 1)
    if asked.kind in ("trim", "repartition", "replay"):
        # Before the survey, which would find that everything is held and say that nothing may go,
        # or topics of a layout that somebody else is about to switch to.
        check_free(executor, APPLICATION, name)
    return _written(executor, config, asked, name=name)


def _written(
    executor: Executor, config: Config, asked: Asked, *, name: str
) -> OperationRecord | None:
    if asked.kind == "trim":
        look = partial(_surveyed, config, asked.wanted)
        return propose_trim(executor, look, why=asked.why, operation=name)[1]
    if asked.kind == "repartition":
        request = _layouts(executor.books(), config, asked.wanted, name).plain()
    elif asked.kind == "replay":
        request = survey_replay(
            config,
            told_topology(config),
            number=name,
            from_ms=_time_ms(asked.wanted.get("since") or "", "From"),
            to_ms=_time_ms(asked.wanted.get("until") or "", "To"),
            stores=asked.wanted.get("stores") or (),
            outputs=asked.wanted.get("outputs") or "off",
        ).asked.plain()
    else:
        request = _request(asked, name)
    return executor.propose(asked.kind, request, why=asked.why, operation=name)


def _layouts(books: Books, config: Config, wanted: Mapping[str, Any], name: str) -> Repartition:
    """So many tasks as are wanted, or as there were before the operation that is reverted, of the
    topology that the workers' controller tells."""
    topology = told_topology(config)
    if "reverts" in wanted:
        former = books.operation(wanted["reverts"]) if wanted["reverts"] else newest_done(books)
        return revert(config, topology, former, books=books, number=name)
    tasks = wished(topology, wanted["tasks_of"])
    mode = wanted.get("mode", "auto")
    return survey(config, topology, tasks, number=name, mode=None if mode == "auto" else mode)


def _time_ms(text: str, field: str) -> int | None:
    """Milliseconds since 1970; None for no time. Raises ConfigError."""
    if not text:
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError as error:
        raise ConfigError(
            f"{field}: {text!r} is not a time", hint="write one such as 2026-01-31T12:00Z"
        ) from error


def _surveyed(config: Config, wanted: Mapping[str, Any]) -> Survey:
    """What may go, with who holds what back in the log."""
    with open_world(config) as world:
        seen = surveyed(
            config,
            world,
            stores=wanted.get("stores") or (),
            partitions=wanted.get("partitions") or (),
            is_capped=not wanted.get("beyond_cap"),
        )
    for part in seen.parts[:_NAMED_MAX]:
        holder = part.floor.limit
        _log.info(
            "%s: %s of it may go; %s holds it at %s: %s",
            part.place,
            f"{part.records:,} offsets",
            holder.owner,
            holder.position,
            holder.reason,
        )
    return seen


def _request(asked: Asked, name: str) -> dict[str, Any]:
    """What the kind is asked for, as the command line would."""
    wanted = dict(asked.wanted)
    if asked.kind == "snapshot":
        return {
            "order": name,
            "tasks": sorted(set(wanted.get("tasks") or ())),
            "stores": sorted(set(wanted.get("stores") or ())),
            "repository": wanted.get("repository") or "",
        }
    if asked.kind == "rebuild":
        return {
            "task": wanted["task"],
            "on": wanted.get("worker") or "",
            "zone": wanted.get("zone") or "",
            "from": wanted.get("source") or "auto",
            "number": name,
        }
    raise OperationRefusedError(
        f"operations of kind {asked.kind!r} are not planned here",
        hint="snapshot, rebuild, repartition, replay and trim are",
    )
