"""`streamer replay`: compute the state once more from the input, beside the live application."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from streamer.cli.operations import cancelled, ended, executing, print_operation
from streamer.cli.options import Commands, add_application, add_command, add_json, count
from streamer.cli.replays import comparing, planning, working
from streamer.cli.replays.choosing import KIND, chosen
from streamer.cli.replays.processes import workers
from streamer.errors import OperationRefusedError

if TYPE_CHECKING:
    from streamer.control.operations import OperationRecord

__all__ = ["add"]

_DETAILS = """\
The input is read again by workers of its own, from its begin or from snapshots on, which write no
results. What they have computed is copied beside the live application and compared with its state;
at the switch it pauses for seconds, and goes on with it.

  streamer replay plan --app shop.stream:app
  streamer replay apply ID --app shop.stream:app --processes 2
  streamer replay diff ID --app shop.stream:app
  streamer replay switch ID --app shop.stream:app --processes 2

More of the work is done by more workers, on any host, with the same code:

  streamer replay work ID shop.stream:app
"""
_READY, _SWITCH = "prove", "switch"


def add(commands: Commands) -> None:
    group = add_command(
        commands, KIND, "compute the state once more from the input", details=_DETAILS
    )
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    plan = planning.add_plan(verbs)
    apply = add_command(
        verbs,
        "apply",
        "do what a plan shows up to the switch; where it has begun, go on with it",
        execute=_apply,
    )
    status = add_command(verbs, "status", "show how far a replay is", execute=_status)
    diff = comparing.add(verbs)
    switch = add_command(
        verbs, "switch", "have the application go on with what was computed", execute=_switch
    )
    for verb in (apply, switch):
        verb.add_argument(
            "--processes",
            metavar="N",
            type=count,
            default=0,
            help="workers that read the input again, of this process and for as long as it runs,"
            " with the code of --app MODULE:APP (default: none, they were started by hand)",
        )
    revert = planning.add_revert(verbs)
    cancel = add_command(
        verbs, "cancel", "before the switch: take back all that it made", execute=_cancel
    )
    working.add(verbs)
    for verb in (plan, revert, cancel):
        verb.add_argument("--why", metavar="TEXT", default="", help="for those who look later")
    for verb in (apply, status, diff, switch, revert, cancel):
        verb.add_argument(
            "id", metavar="ID", nargs="?", default="", help="of the operation (default: the newest)"
        )
    for verb in (plan, apply, status, diff, switch, revert, cancel):
        add_application(verb)
        add_json(verb)


def _apply(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        record = chosen(arguments.id, executor.books())
        if not _is_ready(record):
            with workers(arguments, record.id):
                record = executor.start(record.id, plan_id=record.plan_id, until=_READY)
        code = ended(arguments, record, executor.books(), wanted="paused")
    if not (code or arguments.json):
        from streamer.operations.repartition.request import read_request

        print("nothing is switched, and nothing is copied meanwhile")
        print(f"what differs: streamer replay diff {record.id}")
        by_code = " --app MODULE:APP" * read_request(record.request).calls_code
        print(f"to go on with it: streamer replay switch {record.id}{by_code}")
    return code


def _switch(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        record = chosen(arguments.id, executor.books())
        if not _is_ready(record):
            raise OperationRefusedError(
                f"replay {record.id} has not computed the state yet, or not copied it",
                hint=f"streamer replay apply {record.id} does that, and goes on where it stopped",
            )
        with workers(arguments, record.id):
            record = executor.start(record.id, plan_id=record.plan_id)
        code = ended(arguments, record, executor.books(), wanted="done")
    if not arguments.json:
        for step in record.steps:
            if step.said and step.id in (_SWITCH, "settle"):
                print(step.said)
    return code


def _is_ready(record: OperationRecord) -> bool:
    """Whether all that lies before the switch is done."""
    return any(step.id == _READY and step.state == "done" for step in record.steps)


def _status(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        books = executor.books()
    print_operation(arguments, chosen(arguments.id, books, finished=True), books)
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, display):
        record = chosen(arguments.id, executor.books())
        record = cancelled(executor, display, record.id, why=arguments.why)
        return ended(arguments, record, executor.books(), wanted="cancelled")
