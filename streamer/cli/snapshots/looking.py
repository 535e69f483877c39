"""`streamer snapshot list`, `show` and `verify`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.cli.options import Commands, add_command
from streamer.cli.output import print_json, print_table
from streamer.cli.progress import Counter, size
from streamer.cli.snapshots.opened import Line, about, add_task, named, opened
from streamer.errors import OperationRefusedError, SnapshotError, SnapshotMissingError

if TYPE_CHECKING:
    from streamer.restore.checking import Checked
    from streamer.snapshot.shelf import Shelf

__all__ = ["add"]

_COLUMNS = ("id", "task", "created", "by", "size", "files", "verified", "held")
_DAMAGED = "damaged"
_CHECKED = ("id", "task", "level", "whole", "rows", "problem")


def add(verbs: Commands) -> list[argparse.ArgumentParser]:
    listed = add_command(
        verbs, "list", "show the snapshots of an application, the newest last", execute=_list
    )
    add_task(listed)
    show = add_command(
        verbs, "show", "show the positions, files, holds and readers of a snapshot", execute=_show
    )
    show.add_argument("id", metavar="ID", help="of the snapshot, or the first letters of it")
    verify = add_command(
        verbs,
        "verify",
        "look whether snapshots could be restored, and note it",
        execute=_verify,
    )
    verify.add_argument(
        "ids", metavar="ID", nargs="*", help="of the snapshots (default: the newest of each task)"
    )
    verify.add_argument(
        "--level",
        choices=("files", "contents", "restored"),
        default="contents",
        help="files: all are there with their sizes; contents: each byte is read and hashed;"
        " restored: it is fetched and opened, and each row is read (default: contents)",
    )
    verify.add_argument(
        "--directory",
        metavar="PATH",
        type=Path,
        help="where to restore to, for a moment (default: the system's directory for such)",
    )
    add_task(verify)
    return [listed, show, verify]


# -- list and show -----------------------------------------------------------------------------


def _list(arguments: argparse.Namespace) -> int:
    from streamer.snapshot.choosing import shelves

    with opened(arguments) as (config, repository), Counter(sys.stderr) as counter:
        found = shelves(repository, config.application_id, arguments.tasks)
        rows = [row for shelf in counter.each(found, "tasks looked at") for row in _rows(shelf)]
    if arguments.json:
        print_json(rows)
        return 0
    short = [
        {
            **row,
            "id": row["id"][:12],
            "by": row["created_by"],
            "size": size(row["bytes"]) if row["state"] != _DAMAGED else "",
            "verified": row["state"] if row["state"] != "whole" else row["verified"],
            "held": ", ".join(row["held"]),
        }
        for row in rows
    ]
    print_table(short, _COLUMNS)
    return 0


def _rows(shelf: Shelf) -> Iterator[dict[str, Any]]:
    from streamer.snapshot.claims import holds
    from streamer.snapshot.verified import verified

    noted, held = verified(shelf), holds(shelf)
    condemned = {mark.name for mark in shelf.marks() if mark.kind == "snapshot"}
    for entry in shelf.entries():
        row: dict[str, Any] = {
            "state": "being deleted" if entry.stem in condemned else "whole",
            "verified": noted.get(entry.stem, ""),
            "held": [one.name for one in held.get(entry.stem, ())],
        }
        try:
            manifest = shelf.manifest(entry.stem)
        except SnapshotMissingError:
            continue
        except SnapshotError as error:
            unknown = {"id": entry.id, "task": str(shelf.task), "created_by": "", "bytes": 0}
            yield {**unknown, **row, "state": _DAMAGED, "problem": error.message}
            continue
        if manifest is not None:
            yield {**about(manifest), **row}


def _show(arguments: argparse.Namespace) -> int:
    import msgspec

    from streamer.snapshot.choosing import chosen
    from streamer.snapshot.claims import holds, leased
    from streamer.snapshot.verified import verified

    with opened(arguments) as (config, repository):
        shelf, stem = chosen(repository, config.application_id, arguments.id)
        manifest = shelf.manifest(stem)
        if manifest is None:
            raise OperationRefusedError(
                f"snapshot {stem} was given up by its maker, and has no files",
                hint="streamer snapshot list shows those that can be restored from",
            )
        held = holds(shelf).get(stem, [])
        reader = leased(shelf, repository.now_ms(), repository.claim_ms).get(stem, "")
        level = verified(shelf).get(stem, "")
    full = {
        **about(manifest),
        "verified": level,
        "held": [msgspec.to_builtins(one) for one in held],
        "read_by": reader,
        **{
            name: msgspec.to_builtins(getattr(manifest, name))
            for name in ("store_format", "stores", "changelog", "input", "files")
        },
    }
    if arguments.json:
        print_json(full)
        return 0
    _print(full)
    return 0


def _print(row: dict[str, Any]) -> None:
    print(f"snapshot {row['id']} of {row['application']} {row['task']}, layout {row['layout']}")
    asked = f", asked for by {row['operation']}" if row["operation"] else ""
    print(f"made at {row['created']} by {row['created_by']}{asked}")
    print(f"{size(row['bytes'])} in {len(row['files'])} files, verified: {row['verified'] or 'no'}")
    for one in row["held"]:
        print(f"held by {one['name']} ({one['holder']}): {one['reason']}")
    if row["read_by"]:
        print(f"read by {row['read_by']}")
    for kind in ("changelog", "input"):
        for each in row[kind]:
            print(f"{kind} {each['topic']}/{each['partition']} at {each['position']:,}")
    print()
    files = [{**each, "sha256": each["sha256"][:12]} for each in row["files"]]
    print_table(files, ("name", "size", "sha256"))


# -- verify ------------------------------------------------------------------------------------


def _verify(arguments: argparse.Namespace) -> int:
    from streamer.restore.checking import check_snapshot

    found = []
    with opened(arguments) as (config, repository):
        for one in named(arguments, config, repository):
            line = Line(f"{one.shelf.task} {one.stem[11:23]}")
            try:
                checked = check_snapshot(
                    repository,
                    one,
                    arguments.level,
                    directory=arguments.directory,
                    report=line.show,
                )
            finally:
                line.close()
            if not checked.is_whole:
                print(f"streamer: snapshot {one.stem} of {one.shelf} is not whole", file=sys.stderr)
            found.append(_plain(checked))
    if arguments.json:
        print_json(found)
    else:
        short = [
            {
                **row,
                "id": row["id"][:12],
                "rows": sum(row["rows"].values()) if row["rows"] else None,
                "problem": "; ".join(f"{k}: {v}" for k, v in list(row["problems"].items())[:2]),
            }
            for row in found
        ]
        print_table(short, _CHECKED)
    return 0 if all(row["whole"] for row in found) else 1


def _plain(checked: Checked) -> dict[str, Any]:
    return {
        "id": checked.id,
        "task": checked.task,
        "level": checked.level,
        "whole": checked.is_whole,
        "problems": checked.problems,
        "rows": checked.rows,
    }
