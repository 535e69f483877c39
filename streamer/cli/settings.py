"""`streamer settings`: the settings in force and where each comes from, without connecting."""

from __future__ import annotations

import argparse
from typing import Any

from streamer.cli.options import (
    Commands,
    add_command,
    add_configuration,
    add_json,
    add_target,
    resolved,
)
from streamer.cli.output import print_json, print_table
from streamer.cli.target import load_app

__all__ = ["add"]


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "settings",
        "check the settings of an application and show where each comes from",
        execute=_execute,
    )
    add_target(command)
    command.add_argument("--all", action="store_true", help="show defaults too")
    add_configuration(command)
    add_json(command)


def _execute(arguments: argparse.Namespace) -> int:
    from streamer.config import Resolved
    from streamer.worker.checks import check

    app = load_app(arguments.target)
    found: Resolved = resolved(app, arguments)
    check(app.topology(), found.config)
    rows = [row for row in _rows(found) if arguments.all or row["origin"] != "default"]
    if arguments.json:
        print_json(rows)
    else:
        print_table([_written(row) for row in rows], ("setting", "value", "origin"))
    return 0


def _written(row: dict[str, Any]) -> dict[str, Any]:
    """With numbers as one writes them in a setting: a port is no amount."""
    value = row["value"]
    return row | {"value": str(value)} if type(value) is int else row


def _rows(found: Any) -> list[dict[str, Any]]:
    from streamer.config import settings
    from streamer.kafka.secrets import shown

    rows = []
    for declared in settings():
        value = getattr(found.config, declared.name)
        entries = {declared.name: value}
        if declared.kind == "mapping":
            entries = {f"{declared.name}.{inner}": value[inner] for inner in sorted(value)}
        for name, entry in entries.items():
            rows.append(
                {
                    "setting": name,
                    "value": shown(name, entry),
                    "origin": found.origins.get(name, "default"),
                }
            )
    return rows
