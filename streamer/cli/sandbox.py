"""`streamer sandbox`: a real Kafka on this machine, for development."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.cli import topics
from streamer.cli.options import Commands, add_command, add_json
from streamer.cli.output import print_json
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from streamer.sandbox.background import Status

__all__ = ["add"]

_DETAILS = """\
The broker stays until `streamer sandbox down`, and so does its data. No Java and no Docker are
needed: both the Java runtime and the broker are fetched once. Topics are not made by being used:
create them, as for any other Kafka here.

  streamer sandbox up --port 9092
  streamer sandbox topic purchases customer-totals --partitions 4
"""


def add(commands: Commands) -> None:
    command = add_command(
        commands, "sandbox", "a Kafka on this machine: start, stop, write, read", details=_DETAILS
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    up = _action(actions, "up", "start it, or find the one that runs", _up)
    up.add_argument(
        "--port",
        metavar="N",
        type=_port,
        default=0,
        help="port of the broker (default: a free one)",
    )
    up.add_argument(
        "--set",
        metavar="NAME=VALUE",
        dest="sets",
        action="append",
        default=[],
        help="a setting of the broker, by Kafka's name; may be repeated",
    )
    down = _action(actions, "down", "stop it", _down)
    down.add_argument("--remove-data", action="store_true", help="remove topics and records too")
    status = _action(
        actions, "status", "say whether it runs (exit code 1 when it does not)", _status
    )
    for action in (up, down, status):
        add_json(action)
    topics.add(actions, _action)


def _action(
    actions: Commands, name: str, summary: str, execute: Any, *, details: str = ""
) -> argparse.ArgumentParser:
    action = add_command(actions, name, summary, details=details, execute=execute)
    action.add_argument(
        "--directory",
        metavar="DIR",
        type=Path,
        help="where its data is (default: below the user's state directory)",
    )
    return action


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return number


def _up(arguments: argparse.Namespace) -> int:
    from streamer.sandbox import background

    settings = {}
    for text in arguments.sets:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigError(f"--set {text}: this is not name=value")
        settings[name] = value
    found = background.up(_directory(arguments), port=arguments.port, settings=settings)
    return _print(found, as_json=arguments.json)


def _down(arguments: argparse.Namespace) -> int:
    from streamer.sandbox import background

    directory = _directory(arguments)
    was_running = background.down(directory, remove_data=arguments.remove_data)
    if arguments.json:
        print_json({"directory": directory, "was_running": was_running})
    else:
        print(f"{'stopped' if was_running else 'nothing ran in'} {directory}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from streamer.sandbox import background

    return _print(background.status(_directory(arguments)), as_json=arguments.json)


def _directory(arguments: argparse.Namespace) -> Path:
    from streamer.sandbox import background

    given: Path | None = arguments.directory
    return background.default_directory() if given is None else given


def _print(found: Status, *, as_json: bool) -> int:
    if as_json:
        print_json(
            {
                "directory": found.directory,
                "running": found.is_running,
                "answering": found.is_answering,
                "pid": found.pid,
                "bootstrap_servers": found.bootstrap_servers,
                "log": found.log,
            }
        )
    elif not found.is_running:
        print(f"nothing runs in {found.directory}")
    else:
        state = "Kafka runs" if found.is_answering else "Kafka does not answer"
        print(f"{state} at {found.bootstrap_servers} (pid {found.pid}, log {found.log})")
    return 0 if found.is_answering else 1
