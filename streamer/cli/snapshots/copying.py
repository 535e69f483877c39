"""`streamer snapshot copy`: snapshots in a second repository, such as another cloud's."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from streamer.cli.options import Commands, add_command
from streamer.cli.output import print_json, print_table
from streamer.cli.progress import size
from streamer.cli.snapshots.opened import (
    Line,
    add_task,
    named,
    opened,
)
from streamer.errors import ConfigError, RepositoryError, SnapshotError

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.snapshot.choosing import Chosen
    from streamer.snapshot.repository import Repository

__all__ = ["add"]

_DETAILS = """\
Only contents that the second repository lacks are sent; a copy that was cut goes on when it is
asked for again. Where the second one has other settings, such as a key or an S3 endpoint of its
own, they come from a file, and nothing of this host's does.

  streamer snapshot copy --to s3://other/spend --to-config other.toml --app shop.stream:app
"""


def add(verbs: Commands) -> list[argparse.ArgumentParser]:
    copy = add_command(
        verbs, "copy", "copy snapshots to a second repository", details=_DETAILS, execute=_copy
    )
    copy.add_argument(
        "--to", metavar="ADDRESS", required=True, dest="target", help="of the second repository"
    )
    copy.add_argument(
        "ids", metavar="ID", nargs="*", help="of the snapshots (default: the newest of each task)"
    )
    copy.add_argument(
        "--to-config",
        metavar="FILE",
        help="TOML file with the settings of the second repository (default: the same settings)",
    )
    add_task(copy)
    return [copy]


def _copy(arguments: argparse.Namespace) -> int:
    from streamer.snapshot.opening import open_repository

    rows = []
    with opened(arguments) as (config, repository):
        if arguments.target == repository.address:
            raise ConfigError(
                f"{arguments.target} is the repository that is copied from",
                hint="name another one; --repository says which one to copy from",
            )
        with open_repository(_second(arguments, config), arguments.target) as target:
            for one in named(arguments, config, repository):
                rows.append(_copied(repository, one, target))
    if arguments.json:
        print_json(rows)
    else:
        short = [
            {
                **row,
                "from": row["origin"][:12],
                "to": row["id"][:12],
                "sent": size(row["sent_bytes"]),
            }
            for row in rows
        ]
        print_table(short, ("task", "from", "to", "sent", "problem"))
    return 1 if any(row["problem"] for row in rows) else 0


def _second(arguments: argparse.Namespace, config: Config) -> Config:
    if arguments.to_config is None:
        return config
    from streamer.config import resolve

    # Nothing of this host's: its key would otherwise be that of a repository that has another.
    return resolve(config.application_id, file=arguments.to_config, environment={}).config


def _copied(repository: Repository, one: Chosen, target: Repository) -> dict[str, Any]:
    """Copy one; what is wrong with it keeps nobody from the others."""
    from streamer.snapshot.copying import copy

    line = Line(f"{one.shelf.task} {one.stem[11:23]}")
    row: dict[str, Any] = {
        "task": str(one.shelf.task),
        "origin": one.stem.partition("-")[2],
        "id": "",
        "sent_bytes": 0,
        "reused_bytes": 0,
        "problem": "",
    }
    try:
        made = copy(one.shelf, one.stem, target, beat_ms=repository.beat_ms, report=line.show)
    except (SnapshotError, RepositoryError) as error:
        line.close()
        print(f"streamer: {error.describe()}", file=sys.stderr)
        return {**row, "problem": error.message}
    line.close()
    return {
        **row,
        "id": made.manifest.id,
        "sent_bytes": made.sent_bytes,
        "reused_bytes": made.reused_bytes,
    }
