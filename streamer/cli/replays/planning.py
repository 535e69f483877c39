"""`streamer replay plan` and `revert`: what would be read again, and whether it can be."""

from __future__ import annotations

import argparse
import secrets
from typing import TYPE_CHECKING, Any

from streamer.cli.operations import executing
from streamer.cli.options import Commands, add_command, application, topology_given
from streamer.cli.output import print_json, print_table
from streamer.cli.progress import span
from streamer.cli.replays.choosing import KIND
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

__all__ = ["add_plan", "add_revert"]


def add_plan(verbs: Commands) -> argparse.ArgumentParser:
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
    return plan


def add_revert(verbs: Commands) -> argparse.ArgumentParser:
    return add_command(
        verbs,
        "revert",
        "after the switch: plan a replay from the snapshots that were made before it",
        execute=_revert,
    )


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

    number = f"{KIND}-{secrets.token_hex(6)}"
    return survey(config, topology, number=number, from_ms=from_ms, outputs=outputs)


def _proposed(executor: Executor, asked: Asked, *, why: str) -> OperationRecord:
    return executor.propose(KIND, asked.plain(), why=why, operation=asked.number)


def _shown(arguments: argparse.Namespace, record: OperationRecord) -> int:
    if arguments.json:
        print_json(_plain(record))
    else:
        _print_plan(record)
    return 0


def _switched(given: str, books: Books) -> OperationRecord:
    """The replay of this id that is done, or the newest."""
    if given and (record := books.operation(given)).kind == KIND and record.state == "done":
        return record
    done = [one for one in books.operations.values() if (one.kind, one.state) == (KIND, "done")]
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
