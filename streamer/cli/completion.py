"""`streamer repartition complete`: delete what the layouts have left that the application left."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from streamer.cli.operations import executing
from streamer.cli.options import Commands, add_command, application
from streamer.cli.output import print_json, print_table
from streamer.cli.progress import size

if TYPE_CHECKING:
    from streamer.control.operations import OperationRecord
    from streamer.operations.completion.survey import Survey

__all__ = ["KIND", "add"]

KIND = "completion"
_DETAILS = """\
Shows the topics of former layouts, with what they take, and the state that workers have of them;
nothing is deleted before the plan is applied by its id. After it there is no revert. Who else reads
such a topic is named, and has to be named in turn. Snapshots stay.

  streamer repartition complete --app shop.stream:app
  streamer repartition apply completion-9f3c01aa6b52 --app shop.stream:app
"""


def add(verbs: Commands) -> argparse.ArgumentParser:
    complete = add_command(
        verbs,
        "complete",
        "plan to delete what former layouts have left",
        details=_DETAILS,
        execute=_complete,
    )
    complete.add_argument(
        "operations",
        metavar="ID",
        nargs="*",
        help="of repartitions that are done (default: all that are, and are not completed)",
    )
    complete.add_argument(
        "--despite",
        metavar="GROUP",
        action="append",
        default=[],
        help="delete the topics although this group reads them, or has; may be repeated",
    )
    complete.add_argument("--why", metavar="TEXT", default="", help="for those who look later")
    return complete


def _complete(arguments: argparse.Namespace) -> int:
    config = application(arguments)
    from streamer.operations.completion import survey

    with executing(arguments) as (executor, _display):
        found = survey.survey(
            config, executor.books(), arguments.operations, despite=arguments.despite
        )
        record = executor.propose(KIND, found.asked.plain(), why=arguments.why)
    if arguments.json:
        print_json(_plain(found, record))
    else:
        _print(found, record)
    return 0


def _plain(found: Survey, record: OperationRecord) -> dict[str, Any]:
    return {
        "operation": record.id,
        "plan": record.plan_id,
        "completes": list(found.asked.operations),
        "topics": [
            {"topic": topic, "partitions": width, "bytes": found.sizes.get(topic)}
            for topic, width in found.topics.items()
        ],
        "disks": dict(found.disks),
        "left": found.asked.left,
        "despite": list(found.asked.despite),
        "snapshots": dict(found.shelves),
        "snapshots_unseen": found.unseen,
        "lost": list(record.plan.lost),
    }


def _print(found: Survey, record: OperationRecord) -> None:
    print(f"completes {', '.join(found.asked.operations)}")
    rows = [
        {
            "topic": topic,
            "partitions": width,
            "about": size(found.sizes[topic]) if topic in found.sizes else "?",
        }
        for topic, width in found.topics.items()
    ]
    print_table(rows, ("topic", "partitions", "about"))
    if found.disks:
        print()
        disks = [{"worker": name, "state": size(each)} for name, each in found.disks.items()]
        print_table(disks, ("worker", "state"))
    print()
    for shelf, count in found.shelves.items():
        print(f"{count} snapshots stay in {shelf}")
    if found.shelves:
        print("nothing is restored from them any more: delete those directories once you are sure")
    elif found.unseen:
        print(f"whether there are snapshots of these layouts is not known: {found.unseen}")
    asked = found.asked
    print(
        f"plan {record.plan_id[:12]}: {len(found.topics)} topics with about {size(asked.bytes)},"
        f" and {size(asked.disk_bytes)} on disks of workers"
    )
    print(f"no way back once it has begun: {'; '.join(record.plan.lost)}")
    print(f"\nstreamer repartition apply {record.id}")
