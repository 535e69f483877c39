"""`streamer snapshot sweep`: what lies in a repository and belongs to no snapshot."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from streamer.cli.options import Commands, add_command
from streamer.cli.output import moment, print_json, print_table
from streamer.cli.snapshots.opened import opened

if TYPE_CHECKING:
    from streamer.snapshot.orphans import Orphans
    from streamer.snapshot.remote.api import Stored

__all__ = ["add"]

_DETAILS = """\
Lists the whole repository, of all applications. Uploads that broke off a day ago or more, and what
stood there for a moment, are removed with --apply. What Streamer has not put there is told, and
never removed. Files that no snapshot needs any more are the business of `prune`.

  streamer snapshot sweep --app shop.stream:app
"""
_COLUMNS = ("what", "key", "bytes", "since")


def add(verbs: Commands) -> list[argparse.ArgumentParser]:
    sweep = add_command(
        verbs,
        "sweep",
        "show what broken uploads have left in the repository, and remove it with --apply",
        details=_DETAILS,
        execute=_sweep,
    )
    sweep.add_argument("--apply", action="store_true", help="remove it")
    return [sweep]


def _sweep(arguments: argparse.Namespace) -> int:
    from streamer.snapshot.orphans import sweep

    with opened(arguments) as (_config, repository):
        found = sweep(repository, dry_run=not arguments.apply)
    if arguments.json:
        print_json(_plain(found, arguments.apply))
    else:
        _print(found, arguments.apply)
    return 0


def _rows(found: Orphans) -> Iterable[tuple[str, Stored]]:
    for what, each in (
        ("unfinished", found.unfinished),
        ("momentary", found.momentary),
        ("foreign", found.foreign),
    ):
        for stored in each:
            yield what, stored


def _plain(found: Orphans, applied: bool) -> dict[str, Any]:
    rows = [
        {"what": what, "key": one.key, "bytes": one.size, "since_ms": one.modified_ms}
        for what, one in _rows(found)
    ]
    return {"applied": applied, "removed": found.removed, "found": rows}


def _print(found: Orphans, applied: bool) -> None:
    rows = [
        {"what": what, "key": one.key, "bytes": one.size, "since": moment(one.modified_ms)}
        for what, one in _rows(found)
    ]
    print_table(rows, _COLUMNS)
    if applied:
        print(f"\n{found.removed} are removed")
    elif found.unfinished or found.momentary:
        print("\nnothing was changed; --apply removes what is unfinished or was momentary")
