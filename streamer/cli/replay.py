"""`streamer replay`: compute the state once more from the input, beside the live application."""

from __future__ import annotations

import argparse
import secrets
import threading
from typing import TYPE_CHECKING, Any

from streamer.cli import replay_processes, replay_work
from streamer.cli.operations import cancelled, ended, executing, print_operation
from streamer.cli.options import (
    Commands,
    add_application,
    add_command,
    add_json,
    application,
    count,
    topology_given,
)
from streamer.cli.output import print_json, print_table
from streamer.cli.progress import span
from streamer.cli.rows import time_of
from streamer.errors import OperationRefusedError

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.control.operations import OperationRecord
    from streamer.operations.books import Books
    from streamer.operations.executor import Executor
    from streamer.operations.repartition.request import Asked
    from streamer.topology.graph import Topology
    from streamer.topology.replayed import Outputs

__all__ = ["add"]

_DETAILS = """\
The input is read again from its begin by workers of its own, which write no results; what they have
computed is copied beside the live application, which then pauses for seconds and goes on with it.

  streamer replay plan --app shop.stream:app
  streamer replay apply ID --app shop.stream:app --processes 2
  streamer replay status --app shop.stream:app

More of the work is done by more workers, on any host, with the same code:

  streamer replay work ID shop.stream:app
"""
_KIND = "replay"
_COLUMNS = ("store", "same", "added", "changed", "gone", "moving")


def add(commands: Commands) -> None:
    group = add_command(
        commands, _KIND, "compute the state once more from the input", details=_DETAILS
    )
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    plan = add_command(
        verbs, "plan", "show what would be read again and how long it takes", execute=_plan
    )
    plan.add_argument(
        "--from",
        dest="since",
        metavar="TIME",
        help="begin with the newest snapshots that were made by then, such as 2026-01-31T12:00Z"
        " (default: with the begin of the input)",
    )
    plan.add_argument(
        "--outputs",
        choices=("off", "side", "on"),
        default="off",
        help="what is done with results of what is read again: nothing; written to topics"
        " TOPIC.OPERATION; or where they went, with a header streamer-replay (default: off)",
    )
    apply = add_command(
        verbs, "apply", "do what a plan shows; where it has begun, go on with it", execute=_apply
    )
    apply.add_argument(
        "--processes",
        metavar="N",
        type=count,
        default=0,
        help="workers that read the input again, of this process and for as long as it runs, with"
        " the code of --app MODULE:APP (default: none, they were started by hand)",
    )
    status = add_command(verbs, "status", "show how far a replay is", execute=_status)
    diff = add_command(
        verbs, "diff", "show how what was computed differs from the live state", execute=_diff
    )
    diff.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=3_600.0, help="(default: 3600)"
    )
    revert = add_command(
        verbs,
        "revert",
        "after the switch: plan a replay from the snapshots that were made before it",
        execute=_revert,
    )
    cancel = add_command(
        verbs, "cancel", "before the switch: take back all that it made", execute=_cancel
    )
    replay_work.add(verbs)
    for verb in (plan, revert, cancel):
        verb.add_argument("--why", metavar="TEXT", default="", help="for those who look later")
    for verb in (apply, status, diff, revert, cancel):
        verb.add_argument(
            "id", metavar="ID", nargs="?", default="", help="of the operation (default: the newest)"
        )
    for verb in (plan, apply, status, diff, revert, cancel):
        add_application(verb)
        add_json(verb)


def _plan(arguments: argparse.Namespace) -> int:
    from_ms = time_of(arguments.since, "--from") if arguments.since else None
    topology, config = topology_given(arguments), application(arguments)
    with executing(arguments) as (executor, _display):
        asked = _survey(config, topology, from_ms=from_ms, outputs=arguments.outputs)
        record = _proposed(executor, asked, why=arguments.why)
    return _shown(arguments, record)


def _revert(arguments: argparse.Namespace) -> int:
    topology, config = topology_given(arguments), application(arguments)
    with executing(arguments) as (executor, _display):
        done = _switched(arguments.id, executor.books())
        at_ms = next(step.started_ms for step in done.steps if step.id == "switch")
        why = arguments.why or f"takes back {done.id}"
        record = _proposed(executor, _survey(config, topology, from_ms=at_ms), why=why)
    return _shown(arguments, record)


def _survey(
    config: Config, topology: Topology, *, from_ms: int | None, outputs: Outputs = "off"
) -> Asked:
    from streamer.operations.replay.survey import survey

    number = f"{_KIND}-{secrets.token_hex(6)}"
    return survey(config, topology, number=number, from_ms=from_ms, outputs=outputs)


def _proposed(executor: Executor, asked: Asked, *, why: str) -> OperationRecord:
    return executor.propose(_KIND, asked.plain(), why=why, operation=asked.number)


def _shown(arguments: argparse.Namespace, record: OperationRecord) -> int:
    if arguments.json:
        print_json(_plain(record))
    else:
        _print_plan(record)
    return 0


def _switched(given: str, books: Books) -> OperationRecord:
    """The replay of this id that is done, or the newest."""
    if given and (record := books.operation(given)).kind == _KIND and record.state == "done":
        return record
    done = [one for one in books.operations.values() if (one.kind, one.state) == (_KIND, "done")]
    if given or not done:
        raise OperationRefusedError(
            f"operation {given} is no replay that is done" if given else "no replay is done",
            hint="before its switch one is taken back by: streamer replay cancel",
        )
    return max(done, key=lambda one: (one.ended_ms, one.id))


def _plain(record: OperationRecord) -> dict[str, Any]:
    cost = record.plan.cost
    return {
        "operation": record.id,
        "plan": record.plan_id,
        "records": cost.records,
        "seconds": cost.seconds,
        "pause_ms": cost.pause_ms,
        "steps": [{"step": one.id, "what": one.summary} for one in record.plan.steps],
        "lost": list(record.plan.lost),
    }


def _print_plan(record: OperationRecord) -> None:
    plan, cost = record.plan, record.plan.cost
    print_table([{"step": one.id, "what": one.summary} for one in plan.steps], ("step", "what"))
    print(
        f"\nplan {record.plan_id[:12]}: {cost.records:,} records of the input are read again; about"
        f" {span(cost.seconds)} for one worker, with a pause of about {cost.pause_ms} ms"
    )
    print(f"no way back after step {plan.no_return}: {'; '.join(plan.lost)}")
    print(f"\nstreamer replay apply {record.id} --app MODULE:APP --processes 1")


def _apply(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        chosen = _chosen(arguments.id, executor.books())
        with replay_processes.workers(arguments, chosen.id):
            record = executor.start(chosen.id, plan_id=chosen.plan_id)
        code = ended(arguments, record, executor.books(), wanted="done")
    if not arguments.json:
        for step in record.steps:
            if step.said and step.id in ("switch", "settle"):
                print(step.said)
    return code


def _status(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        books = executor.books()
    print_operation(arguments, _chosen(arguments.id, books, finished=True), books)
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        chosen = _chosen(arguments.id, executor.books())
    from streamer.feed.ports import KafkaPorts
    from streamer.operations.repartition.request import read_request
    from streamer.operations.replay.compare import compare

    ports = KafkaPorts(application(arguments), stopping=threading.Event())
    asked = read_request(chosen.request)
    found = list(compare(ports, asked, timeout_s=arguments.timeout))
    rows = [{name: getattr(one, name) for name in _COLUMNS} for one in found]
    if arguments.json:
        for row, one in zip(rows, found, strict=True):
            row["keys"] = {kind: list(map(str, some)) for kind, some in one.keys.items()}
        print_json(rows)
    else:
        print_table(rows, _COLUMNS)
        for one in found:
            for kind, some in one.keys.items():
                if some:
                    print(f"{one.store}, {kind}: {', '.join(map(str, some))}")
    return 0 if all(one.is_equal for one in found) else 1


def _cancel(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, display):
        chosen = _chosen(arguments.id, executor.books())
        record = cancelled(executor, display, chosen.id, why=arguments.why)
        return ended(arguments, record, executor.books(), wanted="cancelled")


def _chosen(given: str, books: Books, *, finished: bool = False) -> OperationRecord:
    """The replay of this id; without one the newest that is not finished, or of all."""
    if given:
        record = books.operation(given)
        if record.kind == _KIND:
            return record
        raise OperationRefusedError(
            f"operation {given} is no replay: {record.kind}",
            hint="streamer operations list has all of them",
        )
    found = [
        one
        for one in books.operations.values()
        if one.kind == _KIND and (finished or not one.is_finished)
    ]
    if not found:
        raise OperationRefusedError("there is no replay", hint="streamer replay plan makes one")
    return max(found, key=lambda one: (one.planned_ms, one.id))
