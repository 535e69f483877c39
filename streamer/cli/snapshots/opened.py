"""The repository of a command, the snapshots that it names, and how far a transfer is."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from streamer.cli.options import application
from streamer.cli.output import moment, quiet_clients
from streamer.cli.progress import size, span
from streamer.errors import ConfigError, OperationRefusedError, SnapshotError, SnapshotMissingError

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.snapshot.manifest import Manifest
    from streamer.snapshot.repository import Repository
    from streamer.snapshot.shelf import Shelf
    from streamer.snapshot.transfer import Progress

__all__ = [
    "Chosen",
    "Line",
    "about",
    "add_task",
    "chosen",
    "duration_ms",
    "named",
    "newest",
    "opened",
    "shelves",
]

_TERMINAL_S, _LOG_S = 0.2, 10.0


class Chosen(NamedTuple):
    """A snapshot: its shelf and its place there."""

    shelf: Shelf
    stem: str


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[tuple[Config, Repository]]:
    """The application's configuration, and the repository that the command names."""
    from streamer.snapshot.opening import open_repository

    config = application(arguments)
    quiet_clients(arguments)
    with open_repository(config, arguments.repository) as repository:
        yield config, repository


def add_task(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--task",
        metavar="TASK",
        action="append",
        default=[],
        dest="tasks",
        help="only of this task, such as 0_3; may be repeated",
    )


def shelves(config: Config, repository: Repository, tasks: list[str] | None = None) -> list[Shelf]:
    """The application's shelves. Raises OperationRefusedError for a task that has none."""
    from streamer.ids import TaskId

    found = repository.shelves(config.application_id)
    if not tasks:
        return found
    named = {TaskId.parse(task) for task in tasks}
    if missing := sorted(named - {shelf.task for shelf in found}):
        raise OperationRefusedError(
            f"{repository.address}: there are no snapshots of {config.application_id}"
            f" {', '.join(map(str, missing))}",
            hint="streamer snapshot list shows what is there",
        )
    return [shelf for shelf in found if shelf.task in named]


def chosen(config: Config, repository: Repository, snapshot_id: str) -> Chosen:
    """A snapshot by its id, or the first letters of it. Raises OperationRefusedError."""
    found = [
        Chosen(shelf, entry.stem)
        for shelf in repository.shelves(config.application_id)
        for entry in shelf.entries()
        if entry.id.startswith(snapshot_id)
    ]
    if len(found) == 1 and snapshot_id:
        return found[0]
    raise OperationRefusedError(
        f"{repository.address}: {len(found)} snapshots of {config.application_id} have an id that"
        f" begins with {snapshot_id!r}",
        hint="streamer snapshot list shows them",
    )


def newest(shelf: Shelf) -> Chosen | None:
    """The newest snapshot of a task that is committed."""
    for entry in reversed(shelf.entries()):
        try:
            if shelf.manifest(entry.stem) is not None:
                return Chosen(shelf, entry.stem)
        except SnapshotMissingError:
            continue
        except SnapshotError:
            return Chosen(shelf, entry.stem)  # whoever looks at it says what is wrong
    return None


def named(arguments: argparse.Namespace, config: Config, repository: Repository) -> list[Chosen]:
    """The snapshots that a command names, or the newest of each task."""
    if arguments.ids:
        return [chosen(config, repository, each) for each in arguments.ids]
    each = [newest(shelf) for shelf in shelves(config, repository, arguments.tasks)]
    return [one for one in each if one is not None]


def about(manifest: Manifest) -> dict[str, Any]:
    """What a listing says of a snapshot."""
    return {
        "id": manifest.id,
        "application": manifest.application,
        "task": manifest.task,
        "layout": manifest.layout,
        "sequence": manifest.sequence,
        "created_ms": manifest.created_ms,
        "created": moment(manifest.created_ms),
        "created_by": manifest.created_by,
        "operation": manifest.made_for,
        "origin": manifest.origin,
        "files": len(manifest.files),
        "bytes": manifest.size,
    }


class Line:
    """How far transfers are: one line of a terminal that is written anew, plain lines elsewhere.
    Called by threads that hold a lock of their own meanwhile, so it is quick."""

    def __init__(self, what: str, stream: TextIO = sys.stderr) -> None:
        self._what = what
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._began = self._said = time.monotonic()
        self._is_open = False

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._said < (_TERMINAL_S if self._is_terminal else _LOG_S):
            return
        self._said = now
        rate = progress.bytes_done / max(now - self._began, 0.001)
        left = progress.bytes_total - progress.bytes_done
        text = (
            f"{self._what}: {size(progress.bytes_done)} of {size(progress.bytes_total)},"
            f" {progress.files_done} of {progress.files_total} files, {size(int(rate))}/s"
        )
        if rate >= 1:
            text += f", {span(int(left / rate))} left"
        if self._is_terminal:
            self._stream.write(f"\r{text}\x1b[K")
            self._is_open = True
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Take the line away."""
        if self._is_open:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._is_open = False


def duration_ms(text: str) -> int:
    """`90min`, `48h`, `7d` as ms. Raises ConfigError."""
    units = {"s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(digits) :]
    if digits.isascii() and digits.isdecimal() and unit in units:
        return int(digits) * units[unit]
    raise ConfigError(
        f"{text!r} is not a time", hint="a whole number and s, min, h or d, such as 48h"
    )
