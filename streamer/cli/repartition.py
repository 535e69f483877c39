"""`streamer repartition`: change the number of tasks while the application runs."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from streamer.cli import completion
from streamer.cli.layout import plain_way_back, said_way_back
from streamer.cli.operations import cancelled, ended, executing, print_operation
from streamer.cli.options import (
    Commands,
    add_application,
    add_command,
    add_json,
    application,
    topology_given,
)
from streamer.cli.output import print_json, print_table
from streamer.cli.progress import size, span
from streamer.errors import OperationRefusedError

if TYPE_CHECKING:
    from streamer.control.operations import OperationRecord
    from streamer.operations.books import Books
    from streamer.operations.repartition.request import Asked

__all__ = ["add"]

_DETAILS = """\
A subtopology runs with any number of tasks that divides the partitions of its topics (a fold, which
leaves these as they are), with any greater number (they grow, for good), and one that reads topics
of the application's own with any number: --mode routed puts one before those of others. The state
is copied beside the application, which then pauses for seconds.

  streamer repartition plan purchases=12 --app shop.stream:app
  streamer repartition apply --app shop.stream:app
  streamer repartition status --app shop.stream:app

After the switch, `revert` plans the way back, which loses nothing, and `complete` plans to delete
what the former layout has left. Both are applied by their id.
"""
_KIND = "repartition"
_COLUMNS = ("subtopology", "reads", "tasks", "then", "mode", "stores")


def add(commands: Commands) -> None:
    group = add_command(
        commands,
        "repartition",
        "change the number of tasks while the application runs",
        details=_DETAILS,
    )
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    plan = add_command(
        verbs, "plan", "show what would be done and how long it takes", execute=_plan
    )
    plan.add_argument(
        "wanted",
        metavar="SUBTOPOLOGY=TASKS",
        nargs="+",
        help="a subtopology by its number, or a topic that it reads, and how many tasks it is to"
        " have, such as purchases=12",
    )
    plan.add_argument(
        "--mode",
        choices=("fold", "grow", "routed"),
        help="`fold` leaves topics as they are, `grow` gives topics of others as many partitions as"
        " there are tasks, `routed` reads them by way of topics of the application's own, with any"
        " number of tasks; both for good (default: `fold`, and `grow` for more tasks than the"
        " widest of them has partitions)",
    )
    plan.add_argument("--why", metavar="TEXT", default="", help="for those who look later")
    apply = add_command(
        verbs, "apply", "do what a plan shows; where it has begun, go on with it", execute=_apply
    )
    apply.add_argument(
        "--wait",
        action="store_true",
        help="wait while another process carries it out, and go on if that one ends before it",
    )
    status = add_command(
        verbs, "status", "show how far a repartition is, and who makes it wait", execute=_status
    )
    cancel = add_command(
        verbs,
        "cancel",
        "before the switch: take back all that it made",
        execute=_cancel,
    )
    revert = add_command(
        verbs,
        "revert",
        "after the switch: plan the way back to the former numbers of tasks",
        execute=_revert,
    )
    for verb in (cancel, revert):
        verb.add_argument("--why", metavar="TEXT", default="", help="for those who look later")
    for verb in (apply, status, cancel, revert):
        verb.add_argument(
            "id",
            metavar="ID",
            nargs="?",
            default="",
            help="of the operation, as `plan` printed it (default: the newest that is not"
            " finished, and for `revert` the newest that is)",
        )
    for verb in (plan, apply, status, cancel, revert, completion.add(verbs)):
        add_application(verb)
        add_json(verb)


# -- plan ------------------------------------------------------------------------------------------


def _plan(arguments: argparse.Namespace) -> int:
    topology, config = topology_given(arguments), application(arguments)
    from streamer.operations.repartition.survey import survey, wished

    tasks = wished(topology, arguments.wanted)
    with executing(arguments) as (executor, _display):
        number = f"{_KIND}-{secrets.token_hex(6)}"
        asked = survey(config, topology, tasks, number=number, mode=arguments.mode)
        record = executor.propose(_KIND, asked.plain(), why=arguments.why, operation=number)
    if arguments.json:
        print_json(_plain(asked, record))
    else:
        _print_plan(asked, record)
    return 0


def _plain(asked: Asked, record: OperationRecord) -> dict[str, Any]:
    cost = record.plan.cost
    return {
        "operation": record.id,
        "plan": record.plan_id,
        "layout": asked.before.number,
        "next_layout": asked.after.number,
        "subtopologies": _rows(asked),
        "topics": {**asked.changelogs, **asked.repartition},
        "grown": asked.grown,
        "routed": asked.taken_over,
        "sampled": asked.sampled,
        "records": cost.records,
        "bytes": cost.bytes,
        "seconds": cost.seconds,
        "pause_ms": cost.pause_ms,
        "steps": [{"step": one.id, "what": one.summary} for one in record.plan.steps],
        "lost": list(record.plan.lost),
    }


def _rows(asked: Asked) -> list[dict[str, Any]]:
    before, after = asked.before.layout, asked.after.layout
    stores = {plan.subtopology: [one.name for one in plan.stores] for plan in asked.feeds}
    return [
        {
            "subtopology": number,
            "reads": " ".join(sorted(before.subtopologies[number].inputs)),
            "tasks": before.task_count(number),
            "then": after.task_count(number),
            "mode": after.subtopologies[number].mode,
            "stores": " ".join(stores.get(number, [])),
        }
        for number in asked.moved
    ]


def _print_plan(asked: Asked, record: OperationRecord) -> None:
    plan = record.plan
    back = f", which reverts {asked.reverts}" if asked.reverts else ""
    rows = _rows(asked)
    by = " and ".join(sorted({row["mode"] for row in rows}))
    print(f"layout {asked.before.number} -> layout {asked.after.number}, by {by}{back}")
    print_table(rows, _COLUMNS)
    for topic, width in sorted(asked.grown.items()):
        print(f"{topic}: {asked.inputs[topic]} -> {width} partitions; {_checked(asked, topic)}")
    for topic in sorted(asked.taken_over):
        print(
            f"{topic}: taken over into a topic of the application's own; {_checked(asked, topic)}"
        )
    print()
    print_table([{"step": one.id, "what": one.summary} for one in plan.steps], ("step", "what"))
    cost = plan.cost
    print(
        f"\nplan {record.plan_id[:12]}: {cost.records:,} offsets of changelogs are copied; the"
        f" state is {size(cost.bytes)}, which brokers and workers keep twice; about"
        f" {span(cost.seconds)}, with a pause of about {cost.pause_ms} ms"
    )
    print(f"no way back after step {plan.no_return}: {'; '.join(plan.lost)}")
    print(f"\nstreamer repartition apply {record.id}{' --app MODULE:APP' * asked.calls_code}")


def _checked(asked: Asked, topic: str) -> str:
    """How it was checked where producers place keys."""
    parts = asked.before.layout.subtopologies.values()
    part = next(each for each in parts if topic in each.inputs)
    by = part.inputs[topic].partitioner
    if not part.is_first:
        return f"layout {part.since} goes by {by}"
    if not part.keeps_state:
        return "no state depends on where its keys are"
    if count := asked.sampled.get(topic, 0):
        return f"{count:,} of its newest records were looked at, and lie where {by} puts their keys"
    return f"no record of it tells how producers place keys; {by} is assumed"


# -- revert ----------------------------------------------------------------------------------------


def _revert(arguments: argparse.Namespace) -> int:
    topology, config = topology_given(arguments), application(arguments)
    from streamer.operations.repartition import reverting

    with executing(arguments) as (executor, _display):
        books = executor.books()
        chosen = _chosen(arguments.id, books) if arguments.id else reverting.newest_done(books)
        number = f"{_KIND}-{secrets.token_hex(6)}"
        asked = reverting.revert(config, topology, chosen, books=books, number=number)
        record = executor.propose(_KIND, asked.plain(), why=arguments.why, operation=number)
    if arguments.json:
        print_json({**_plain(asked, record), "reverts": chosen.id})
    else:
        _print_plan(asked, record)
    return 0


# -- apply, status, cancel -------------------------------------------------------------------------


def _apply(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        chosen = _chosen(arguments.id, executor.books(), kinds=(_KIND, completion.KIND))
        record = executor.start(chosen.id, plan_id=chosen.plan_id, waits=arguments.wait)
        code = ended(arguments, record, executor.books(), wanted="done")
    if not arguments.json:
        for step in record.steps:
            if step.said and (step.id in ("switch", "settle") or record.kind == completion.KIND):
                print(step.said)
    return code


def _status(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        books = executor.books()
    chosen = _chosen(arguments.id, books, finished=True)
    from streamer.operations.repartition import way_back

    back = way_back.look_back(application(arguments), chosen, books)
    print_operation(arguments, chosen, books, more={"revert": plain_way_back(back)})
    if not arguments.json:
        print()
        if chosen.state == "done" and not books.completed_by(chosen.id):
            print(f"its former layout is there: streamer repartition complete {chosen.id}")
        print(said_way_back(back))
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, display):
        chosen = _chosen(arguments.id, executor.books())
        record = cancelled(executor, display, chosen.id, why=arguments.why)
        return ended(arguments, record, executor.books(), wanted="cancelled")


def _chosen(
    given: str, books: Books, *, finished: bool = False, kinds: Collection[str] = (_KIND,)
) -> OperationRecord:
    """The repartition of this id; without one the newest that has begun and is not finished, else
    the newest plan, else, where it may be `finished`, the newest of all."""
    if given:
        record = books.operation(given)
        if record.kind in kinds:
            return record
        raise OperationRefusedError(
            f"operation {given} is no repartition: {record.kind}",
            hint="streamer operations list has all of them",
        )
    found = [one for one in books.operations.values() if one.kind == _KIND]
    ranks = [
        [one for one in found if one.has_begun and not one.is_finished],
        [one for one in found if one.state == "planned"],
        found if finished else [],
    ]
    for rank in ranks:
        if rank:
            return max(rank, key=lambda one: (one.planned_ms, one.id))
    raise OperationRefusedError(
        "there is no repartition" + ("" if finished else " that waits to be applied"),
        hint="make a plan: streamer repartition plan SUBTOPOLOGY=TASKS",
    )
