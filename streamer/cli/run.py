"""`streamer run`: start workers of an application and stay until they are told to stop."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from streamer.cli.options import Commands, add_command, add_configuration, add_target, resolved
from streamer.cli.target import load_app

__all__ = ["add"]

_DETAILS = """\
SIGTERM or Ctrl-C stops cleanly: what was processed is committed. A second one stops at once; the
uncommitted rest is processed again at the next start.

  streamer run shop.stream:app --bootstrap-servers kafka:9092 --processes 4
"""


def add(commands: Commands) -> None:
    command = add_command(
        commands, "run", "run workers of an application", details=_DETAILS, execute=_execute
    )
    add_target(command)
    command.add_argument(
        "--processes",
        metavar="N",
        type=_count,
        default=1,
        help="worker processes to start (default: 1); one uses one CPU",
    )
    command.add_argument("--slot", type=int, default=None, help=argparse.SUPPRESS)
    add_configuration(command)


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, 1 or more")
    return number


def _execute(arguments: argparse.Namespace) -> int:
    app = load_app(arguments.target)
    config = resolved(app, arguments).config
    from streamer import log
    from streamer.kafka import settings

    log.configure(config.log_level, config.log_format)
    settings.check(config)
    app.topology()
    if arguments.processes > 1:
        from streamer.worker import supervisor

        return supervisor.run_processes(_without_processes(sys.argv), config, arguments.processes)
    from streamer import worker

    if arguments.slot is not None and config.worker_id is not None:
        config = dataclasses.replace(config, worker_id=f"{config.worker_id}-{arguments.slot}")
    return worker.run(app, config, slot=arguments.slot)


def _without_processes(given: list[str]) -> list[str]:
    """The command of one process: the same words, without their number of processes."""
    words = [sys.executable, "-m", "streamer.cli.main"]
    rest = iter(given[1:])
    for word in rest:
        if word == "--processes":
            next(rest, None)
        elif not word.startswith("--processes="):
            words.append(word)
    return words
