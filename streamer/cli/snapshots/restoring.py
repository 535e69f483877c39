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
from streamer.cli.snapshots.opened import Line, about, add_task, opened
from streamer.errors import ConfigError, SnapshotMissingError

if TYPE_CHECKING:
    from streamer.config import Config
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
    from streamer.http.requests import time_ms
    from streamer.restore.at_rest import restore_to

    if arguments.ids and (arguments.at or arguments.tasks):
        raise ConfigError("snapshots and --at or --task were given", hint="leave one out")
    at_ms = time_ms(arguments.at, "--at") if arguments.at else time.time_ns() // 1_000_000
    rows: list[dict[str, Any]] = []
    with opened(arguments) as (config, repository):
        meant, lacking = _meant(arguments, config, repository, at_ms)
        for one in meant:
            manifest = one.shelf.manifest(one.stem)
            if manifest is None:
                raise SnapshotMissingError(
                    f"snapshot {one.stem} of {one.shelf} was given up by its maker",
                    hint="streamer snapshot list shows those that can be restored from",
                )
            line = Line(f"{one.shelf.task} {one.stem[11:23]}")
            try:
                placed = restore_to(repository, one, arguments.to, report=line.show)
            finally:
                line.close()
            before_ms = at_ms - manifest.created_ms
            rows.append({**about(manifest), "before_ms": before_ms, "directory": placed.directory})
    if arguments.json:
        print_json(
            {"at_ms": at_ms, "restored": rows, "missing": [str(one.task) for one in lacking]}
        )
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

    if arguments.ids:
        return [chosen(repository, config.application_id, each) for each in arguments.ids], []
    found = as_of(shelves(repository, config.application_id, arguments.tasks), at_ms)
    if not found:
        raise SnapshotMissingError(
            f"{repository.address}: {config.application_id} has no snapshot that was made by"
            f" {moment(at_ms)}",
            hint="streamer snapshot list shows those that are there, and when they were made",
        )
    meant = [one for one in found.values() if one is not None]
    return meant, [shelf for shelf, one in found.items() if one is None]


def _short(row: dict[str, Any]) -> dict[str, Any]:
    before = duration(row["before_ms"]).removesuffix(" ago") if row["before_ms"] >= 0 else ""
    return {**row, "id": row["id"][:12], "size": size(row["bytes"]), "before": before}
