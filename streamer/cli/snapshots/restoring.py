"""`streamer snapshot restore`: the state as of a time, in a directory of its own."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.cli.options import Commands, add_command
from streamer.cli.output import duration, moment, print_json, print_table
from streamer.cli.progress import size
from streamer.cli.rows import time_of
from streamer.cli.snapshots.opened import Line, add_task, opened
from streamer.errors import (
    ConfigError,
    InvariantError,
    OperationRefusedError,
    SnapshotMissingError,
)

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.restore.at_rest import AtRest
    from streamer.snapshot.choosing import Chosen
    from streamer.snapshot.repository import Repository
    from streamer.snapshot.shelf import Shelf

__all__ = ["add"]

_COLUMNS = ("task", "id", "created", "before", "size", "directory")
_DETAILS = """\
Of each task the newest snapshot that was made at TIME or before comes into a directory of its own,
DIR/0_3; every byte is verified. Kafka is not asked, and no worker hears of it. A restore that was
broken off goes on when it is asked for again. `streamer inspect DIR` shows what is in it.

  streamer snapshot restore --at 2026-01-31T12:00Z --to /tmp/then --app shop.stream:app
"""


def add(verbs: Commands) -> list[argparse.ArgumentParser]:
    command = add_command(
        verbs,
        "restore",
        "bring the state as of a time into a directory, to look at it",
        details=_DETAILS,
        execute=_restore,
    )
    command.add_argument(
        "ids", metavar="ID", nargs="*", help="of snapshots, instead of a time; of a task one"
    )
    command.add_argument(
        "--at", metavar="TIME", help="no later than this, such as 2026-01-31T12:00Z (default: now)"
    )
    command.add_argument(
        "--to",
        metavar="DIR",
        type=Path,
        required=True,
        help="where to; it is made, and nothing that is in it is touched",
    )
    add_task(command)
    return [command]


def _restore(arguments: argparse.Namespace) -> int:
    from streamer.restore.at_rest import check_room, restore_to

    if arguments.ids and (arguments.at or arguments.tasks):
        raise ConfigError("snapshots and --at or --task were given", hint="leave one out")
    at_ms = time_of(arguments.at, "--at") if arguments.at else time.time_ns() // 1_000_000
    rows: list[dict[str, Any]] = []
    with opened(arguments) as (config, repository):
        meant, lacking = _meant(arguments, config, repository, at_ms)
        check_room(meant, arguments.to)
        for one in meant:
            line = Line(f"{one.shelf.task} {one.stem[11:23]}")
            try:
                placed = restore_to(repository, one, arguments.to, report=line.show)
            finally:
                line.close()
            rows.append(_row(placed, at_ms))
    if arguments.json:
        missing = [str(shelf.task) for shelf in lacking]
        print_json({"at_ms": at_ms, "restored": rows, "missing": missing})
    else:
        print_table([_short(row) for row in rows], _COLUMNS)
    for shelf in lacking:
        print(
            f"streamer: {shelf} has no snapshot that was made by {moment(at_ms)}", file=sys.stderr
        )
    return 1 if lacking else 0


def _meant(
    arguments: argparse.Namespace, config: Config, repository: Repository, at_ms: int
) -> tuple[list[Chosen], list[Shelf]]:
    """The snapshots to restore, and the tasks that have none which is old enough."""
    from streamer.snapshot.choosing import as_of, chosen, shelves

    application = config.application_id
    if arguments.ids:
        return [chosen(repository, application, each) for each in arguments.ids], []
    wanted = {shelf.task for shelf in shelves(repository, application, arguments.tasks)}
    found = as_of(shelves(repository, application), at_ms)
    if not found:
        raise SnapshotMissingError(
            f"{repository.address}: {application} has no snapshot that was made by {moment(at_ms)}",
            hint="streamer snapshot list shows those that are there, and when they were made",
        )
    if arguments.tasks and (unknown := sorted(wanted - {shelf.task for shelf in found})):
        layout = next(iter(found)).layout
        raise OperationRefusedError(
            f"there was no task {unknown[0]} at {moment(at_ms)}: layout {layout} held",
            hint="streamer snapshot list shows the layout of each snapshot with --json",
        )
    found = {shelf: one for shelf, one in found.items() if shelf.task in wanted}
    meant = [one for one in found.values() if one is not None]
    return meant, [shelf for shelf, one in found.items() if one is None]


def _row(placed: AtRest, at_ms: int) -> dict[str, Any]:
    origin = placed.origin
    if origin is None:
        raise InvariantError(f"{placed.directory} was restored, and does not say of what")
    return {
        "id": origin.id,
        "task": origin.task,
        "layout": origin.layout,
        "created_ms": origin.created_ms,
        "created": moment(origin.created_ms),
        "created_by": origin.created_by,
        "bytes": origin.size,
        "before_ms": at_ms - origin.created_ms,
        "directory": placed.directory,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    before = duration(row["before_ms"]).removesuffix(" ago") if row["before_ms"] >= 0 else ""
    return {**row, "id": row["id"][:12], "size": size(row["bytes"]), "before": before}
