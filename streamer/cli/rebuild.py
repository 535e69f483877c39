"""`streamer rebuild`: make a copy of a task anew."""

from __future__ import annotations

import argparse
import secrets
import sys

from streamer.cli.operations import ended, executing
from streamer.cli.options import Commands, add_application, add_command, add_json
from streamer.cli.output import print_json, print_table
from streamer.errors import OperationRefusedError

__all__ = ["add"]

_DETAILS = """\
The worker that keeps the copy goes on with the old one until the new one is there, then reads the
rest of the changelogs. It may be killed anywhere: streamer operations resume ID goes on.

  streamer rebuild --task 0_3 --app shop.stream:app
  streamer rebuild --task 0_3 --on eu-host-7 --from active --app shop.stream:app
  streamer rebuild --task 0_3 --zone az=eu-2 --app shop.stream:app
"""
_COLUMNS = ("step", "what")
# As operations.rebuild_target has them; it is imported when the command runs.
_SOURCES = ("auto", "s3", "ssh", "file", "active", "changelog")


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "rebuild",
        "make a copy of a task anew: from a snapshot, from the active's host, from the changelogs",
        details=_DETAILS,
        execute=_rebuild,
    )
    command.add_argument("--task", metavar="ID", required=True, help="such as 0_3")
    command.add_argument(
        "--on",
        metavar="WORKER",
        default="",
        help="the worker whose copy it is; without it a copy that has failed, or the first by name",
    )
    command.add_argument(
        "--zone",
        metavar="TAGS",
        default="",
        help="only a copy of a worker in this zone, such as az=eu-2",
    )
    command.add_argument(
        "--from",
        choices=_SOURCES,
        default="auto",
        dest="source",
        help="s3, ssh, file: snapshot_repository, which must be one; active: the disk of the worker"
        " that processes the task; auto: the repository or the changelogs, whichever is sooner",
    )
    command.add_argument("--why", metavar="TEXT", default="", help="for those who look later")
    command.add_argument(
        "--dry-run", action="store_true", help="show what would be done, and change nothing"
    )
    add_application(command)
    add_json(command)


def _rebuild(arguments: argparse.Namespace) -> int:
    number = f"rebuild-{secrets.token_hex(6)}"
    request = {
        "task": arguments.task,
        "on": arguments.on,
        "zone": arguments.zone,
        "from": arguments.source,
        "number": number,
    }
    with executing(arguments) as (executor, _display):
        if arguments.dry_run:
            steps = executor.plan("rebuild", request).steps
            if arguments.json:
                print_json([{"step": step.id, "what": step.summary} for step in steps])
            else:
                print_table([{"step": one.id, "what": one.summary} for one in steps], _COLUMNS)
            return 0
        record = executor.propose("rebuild", request, why=arguments.why, operation=number)
        print(f"operation {record.id}", file=sys.stderr, flush=True)
        try:
            record = executor.start(record.id)
        except OperationRefusedError:
            # Refused is unchanged: nobody asked for a plan.
            executor.withdraw(number)
            raise
        return ended(arguments, record, executor.books(), wanted="done")
