"""`streamer snapshot`: have snapshots made, look at them, keep and copy them."""

from __future__ import annotations

import argparse
import os
import secrets
from typing import Any

from streamer.cli.operations import ended, executing
from streamer.cli.options import (
    APP_VARIABLE,
    Commands,
    add_application,
    add_command,
    add_json,
)
from streamer.cli.snapshots import copying, keeping, looking, restoring, sweeping
from streamer.errors import ConfigError, OperationRefusedError

__all__ = ["add"]

_DETAILS = """\
A snapshot is an immutable copy of a task's state at known positions, in the repository that
snapshot_repository names. Whoever processes a task makes it, while it goes on.

  streamer snapshot create --app shop.stream:app
  streamer snapshot list --app shop.stream:app
  streamer snapshot verify --level contents --app shop.stream:app
"""


def add(commands: Commands) -> None:
    group = add_command(commands, "snapshot", "make, verify and keep snapshots", details=_DETAILS)
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    create = add_command(
        verbs,
        "create",
        "have a snapshot made of each task, and wait until all stand",
        execute=_create,
    )
    create.add_argument(
        "--store",
        metavar="NAME",
        action="append",
        default=[],
        dest="stores",
        help="only of the tasks that have this store; may be repeated. Needs --app MODULE:APP",
    )
    create.add_argument(
        "--task",
        metavar="TASK",
        action="append",
        default=[],
        dest="tasks",
        help="only of this task, such as 0_3; may be repeated",
    )
    create.add_argument("--why", metavar="TEXT", default="", help="for those who look later")
    _add_repository(create, "where it is to be kept (default: the setting of the workers)")
    add_application(create)
    add_json(create)
    others = (looking, restoring, keeping, copying, sweeping)
    for command in (command for each in others for command in each.add(verbs)):
        _add_repository(command, "address to look at (default: snapshot_repository)")
        add_application(command)
        add_json(command)


def _add_repository(command: argparse.ArgumentParser, purpose: str) -> None:
    command.add_argument("--repository", metavar="ADDRESS", default="", help=purpose)


def _create(arguments: argparse.Namespace) -> int:
    operation = f"snapshot-{secrets.token_hex(6)}"
    request: dict[str, Any] = {
        "order": operation,
        "tasks": sorted(set(arguments.tasks)),
        "subtopologies": _subtopologies(arguments),
        "repository": arguments.repository,
    }
    _check_address(arguments.repository)
    with executing(arguments) as (executor, _display):
        planned = executor.propose("snapshot", request, why=arguments.why, operation=operation)
        try:
            record = executor.start(planned.id)
        except OperationRefusedError:
            # Refused is unchanged: nobody asked for a plan.
            executor.withdraw(planned.id)
            raise
        return ended(arguments, record, executor.books(), wanted="done")


def _check_address(address: str) -> None:
    from streamer.config.repositories import parse_repository

    if address:
        parse_repository(address, "--repository")


def _subtopologies(arguments: argparse.Namespace) -> list[int]:
    """The numbers of those that have one of the stores; none where no store is named."""
    from streamer.cli.target import load_app

    if not arguments.stores:
        return []
    name = arguments.app or os.environ.get(APP_VARIABLE, "")
    if ":" not in name:
        raise ConfigError(
            "--store needs the application itself, which says what tasks have the store",
            hint="give --app MODULE:APP, or name the tasks with --task",
        )
    topology = load_app(name).topology()
    stores = {
        spec.name: number
        for number, each in enumerate(topology.subtopologies)
        for spec in each.stores
    }
    if unknown := sorted(set(arguments.stores) - stores.keys()):
        raise ConfigError(
            f"{name} has no store {', '.join(unknown)}",
            hint=f"it has: {', '.join(sorted(stores)) or 'none'}",
        )
    return sorted({stores[store] for store in arguments.stores})
