"""`streamer replay plan` and `revert`: what would be read again, and whether it can be."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from streamer.cli.operations import executing
from streamer.cli.options import Commands, add_command, application, topology_given
from streamer.cli.output import moment, print_json, print_table
from streamer.cli.progress import span
from streamer.cli.replays.choosing import KIND
from streamer.cli.rows import time_of
from streamer.errors import OperationRefusedError

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.control.operations import OperationRecord
    from streamer.operations.books import Books
    from streamer.operations.executor import Executor
    from streamer.operations.repartition.seeds import SeedRecord
    from streamer.operations.replay.survey import Survey
    from streamer.topology.graph import Topology

__all__ = ["add_plan", "add_revert"]

# Of partitions and of tasks: a large application has thousands.
_SHOWN = 20


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
        "--to",
        dest="until",
        metavar="TIME",
        help="compute no more than the windows that begin at --from or later and before this; all"
        " other rows stay as they are (default: everything from there on, up to now)",
    )
    plan.add_argument(
        "--store",
        dest="stores",
        action="append",
        default=[],
        metavar="NAME",
        help="with --to: only the windows of this store (again for more; default: of all that have"
        " windows of which an interval is well defined)",
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
    to_ms = time_of(arguments.until, "--to") if arguments.until else None
    topology, config = topology_given(arguments), application(arguments)
    with executing(arguments) as (executor, _display):
        found = _survey(
            config,
            topology,
            from_ms=from_ms,
            to_ms=to_ms,
            stores=arguments.stores,
            outputs=arguments.outputs,
        )
        record = _proposed(executor, found, why=arguments.why)
    return _shown(arguments, record, found)


def _revert(arguments: argparse.Namespace) -> int:
    from streamer.operations.repartition.request import read_request

    topology, config = topology_given(arguments), application(arguments)
    with executing(arguments) as (executor, _display):
        done = _switched(arguments.id, executor.books())
        at_ms = next(step.started_ms for step in done.steps if step.id == "switch")
        former = read_request(done.request).before.layout.number
        found = _survey(config, topology, from_ms=at_ms, layout_max=former)
        record = _proposed(executor, found, why=arguments.why or f"takes back {done.id}")
    return _shown(arguments, record, found)


def _survey(config: Config, topology: Topology, **given: Any) -> Survey:
    from streamer.operations.replay.survey import survey

    return survey(config, topology, number=f"{KIND}-{secrets.token_hex(6)}", **given)


def _proposed(executor: Executor, found: Survey, *, why: str) -> OperationRecord:
    asked = found.asked
    return executor.propose(KIND, asked.plain(), why=why, operation=asked.number)


def _shown(arguments: argparse.Namespace, record: OperationRecord, found: Survey) -> int:
    if arguments.json:
        print_json(_plain(record, found))
    else:
        _print_plan(record, found)
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


def _plain(record: OperationRecord, found: Survey) -> dict[str, Any]:
    cost = record.plan.cost
    return {
        "operation": record.id,
        "plan": record.plan_id,
        "records": cost.records,
        "seconds": cost.seconds,
        "pause_ms": cost.pause_ms,
        "input": _input(found),
        "windows": _windows(found),
        "base": _seeds(found.asked.base),
        "former": _seeds(found.asked.former),
        "steps": [{"step": one.id, "what": one.summary} for one in record.plan.steps],
        "lost": list(record.plan.lost),
    }


def _seeds(seeds: Mapping[str, SeedRecord]) -> dict[str, Any]:
    """Snapshots by task."""
    return {
        task: {"snapshot": one.stem, "made_ms": one.as_of_ms, "bytes": one.bytes}
        for task, one in seeds.items()
    }


def _windows(found: Survey) -> dict[str, Any] | None:
    interval = found.asked.interval
    if interval is None:
        return None
    stores = list(interval.stores)
    return {"from_ms": interval.from_ms, "to_ms": interval.to_ms, "stores": stores}


def _input(found: Survey) -> list[dict[str, Any]]:
    """Of each partition from where it is read, and what there is of it."""
    return [
        {
            "partition": str(place),
            "from": found.asked.begin.get(str(place), one.start),
            "begins": one.start,
            "ends": one.end,
        }
        for place, one in sorted(found.reach.items())
    ]


def _print_seeds(what: str, seeds: Mapping[str, SeedRecord]) -> None:
    if not seeds:
        return
    print()
    shown = [
        {"task": task, what: one.stem[11:23], "made": moment(one.as_of_ms)}
        for task, one in list(seeds.items())[:_SHOWN]
    ]
    print_table(shown, ("task", what, "made"))


def _print_plan(record: OperationRecord, found: Survey) -> None:
    plan, cost = record.plan, record.plan.cost
    print_table([{"step": one.id, "what": one.summary} for one in plan.steps], ("step", "what"))
    print()
    rows = _input(found)
    print_table(rows[:_SHOWN], ("partition", "from", "begins", "ends"))
    if len(rows) > _SHOWN:
        print(f"and {len(rows) - _SHOWN} more: --json has all of them")
    _print_seeds("snapshot", found.asked.base)
    _print_seeds("of the windows", found.asked.former)
    print(
        f"\nplan {record.plan_id[:12]}: {cost.records:,} records of the input are read again; about"
        f" {span(cost.seconds)} for one worker, with a pause of about {cost.pause_ms} ms"
    )
    print(f"no way back after step {plan.no_return}: {'; '.join(plan.lost)}")
    print(f"\nstreamer replay apply {record.id} --app MODULE:APP --processes 1")
