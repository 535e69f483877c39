"""The repository of a command, the snapshots that it names, and how far a transfer is."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from streamer.cli.options import application
from streamer.cli.output import moment, quiet_clients
from streamer.cli.progress import size, span
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.snapshot.choosing import Chosen
    from streamer.snapshot.manifest import Manifest
    from streamer.snapshot.repository import Repository
    from streamer.snapshot.transfer import Progress

__all__ = [
    "Line",
    "about",
    "add_task",
    "duration_ms",
    "named",
    "opened",
]

_TERMINAL_S, _LOG_S = 0.2, 10.0


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


def named(arguments: argparse.Namespace, config: Config, repository: Repository) -> list[Chosen]:
    """The snapshots that a command names, or the newest of each task."""
    from streamer.snapshot.choosing import chosen, newest, shelves

    application = config.application_id
    if arguments.ids:
        return [chosen(repository, application, each) for each in arguments.ids]
    each = [newest(shelf) for shelf in shelves(repository, application, arguments.tasks)]
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
