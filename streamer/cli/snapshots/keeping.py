"""`streamer snapshot prune`, `hold` and `release`: which snapshots stay, and which go."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from streamer.cli.options import Commands, add_command
from streamer.cli.output import print_json, print_table
from streamer.cli.progress import Counter, size
from streamer.cli.snapshots.opened import add_task, duration_ms, opened

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.snapshot.prune import Policy, Pruned

__all__ = ["add"]

_DETAILS = """\
Without --apply nothing is changed: it is shown what would go. The newest whole snapshots stay,
those that are held or read, and those that are younger than --keep-for. Files that no snapshot
refers to go an hour after they were marked, so the next run may find more.
"""
_NAME = "operator"


def add(verbs: Commands) -> list[argparse.ArgumentParser]:
    prune = add_command(
        verbs,
        "prune",
        "show which snapshots and files nobody needs, and remove them with --apply",
        details=_DETAILS,
        execute=_prune,
    )
    prune.add_argument("--apply", action="store_true", help="remove them")
    prune.add_argument(
        "--keep",
        metavar="N",
        type=_count,
        help="snapshots of each task that stay (default: snapshot_keep_last, or 3)",
    )
    prune.add_argument(
        "--keep-for",
        metavar="TIME",
        help="how long one stays in any case, such as 48h (default: snapshot_keep_ms)",
    )
    add_task(prune)
    hold = add_command(
        verbs, "hold", "keep a snapshot until it is released, whatever prunes", execute=_hold
    )
    hold.add_argument("--reason", metavar="TEXT", required=True, help="for those who look later")
    release = add_command(verbs, "release", "end a hold", execute=_release)
    for verb in (hold, release):
        verb.add_argument("id", metavar="ID", help="of the snapshot, or the first letters of it")
        verb.add_argument(
            "--name",
            metavar="NAME",
            default=_NAME,
            help=f"of the hold; one snapshot may have several (default: {_NAME})",
        )
    return [prune, hold, release]


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of snapshots, 1 or more")
    return number


def _policy(arguments: argparse.Namespace, config: Config) -> Policy:
    from streamer.snapshot.prune import Policy

    keep_ms = config.snapshot_keep_ms
    if arguments.keep_for is not None:
        keep_ms = duration_ms(arguments.keep_for)
    return Policy(
        keep_last=arguments.keep or config.snapshot_keep_last or 3,
        keep_ms=keep_ms,
        # As workers do: newer ones, not read yet or damaged, must not push these out.
        keep_verified=config.trim_snapshots_min,
        level=config.trim_verified_level,  # type: ignore[arg-type]
    )


def _prune(arguments: argparse.Namespace) -> int:
    from streamer.snapshot.choosing import shelves
    from streamer.snapshot.prune import prune

    done: list[Pruned] = []
    with opened(arguments) as (config, repository), Counter(sys.stderr) as counter:
        policy = _policy(arguments, config)
        found = shelves(repository, config.application_id, arguments.tasks)
        for shelf in counter.each(found, "tasks looked at"):
            done.append(prune(repository, shelf, policy, dry_run=not arguments.apply))
    if arguments.json:
        print_json([_plain(each, arguments.apply) for each in done])
    else:
        _print(done, arguments.apply)
    # What could not be read keeps files that might go: somebody has to look.
    return 1 if any(each.problems for each in done) else 0


def _plain(pruned: Pruned, applied: bool) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(pruned), "applied": applied}


def _print(done: list[Pruned], applied: bool) -> None:
    verb = "removed" if applied else "would go"
    rows = [
        {"shelf": each.shelf, "snapshot": stem[11:23], "what": what, "why": why}
        for each in done
        for what, found in (
            ("stays", each.kept),
            (verb, dict.fromkeys(each.removed, "")),
            ("waits", each.waiting),
        )
        for stem, why in found.items()
    ]
    print_table(rows, ("shelf", "snapshot", "what", "why"))
    marked, deleted = (sum(getattr(each, name) for each in done) for name in _BYTES)
    print(f"\nfiles: {size(marked)} that nobody refers to, {size(deleted)} deleted")
    for each in done:
        for problem in each.problems:
            print(f"{each.shelf}: {problem}")
    if not applied:
        print("nothing was changed; --apply does it")


_BYTES = ("bytes_marked", "bytes_deleted")


def _hold(arguments: argparse.Namespace) -> int:
    from streamer.control.identity import somebody
    from streamer.snapshot.choosing import chosen
    from streamer.snapshot.claims import Hold, hold

    with opened(arguments) as (config, repository):
        shelf, stem = chosen(repository, config.application_id, arguments.id)
        about = Hold(
            arguments.name, arguments.reason, somebody(), created_ms=time.time_ns() // 1_000_000
        )
        hold(shelf, stem, about)
    return _said(arguments, stem, f"snapshot {stem} of {shelf} is held by {arguments.name}")


def _release(arguments: argparse.Namespace) -> int:
    from streamer.snapshot.choosing import chosen
    from streamer.snapshot.claims import holds, release

    with opened(arguments) as (config, repository):
        shelf, stem = chosen(repository, config.application_id, arguments.id)
        release(shelf, stem, arguments.name)
        left = [one.name for one in holds(shelf).get(stem, [])]
    more = f"; still held by {', '.join(left)}" if left else ""
    return _said(arguments, stem, f"the hold {arguments.name} of {stem} has ended{more}")


def _said(arguments: argparse.Namespace, stem: str, text: str) -> int:
    if arguments.json:
        print_json({"id": stem.partition("-")[2], "stem": stem, "hold": arguments.name})
    else:
        print(text)
    return 0
