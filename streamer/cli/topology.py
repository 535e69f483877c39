"""`streamer topology`: show what an application does, without connecting to anything."""

from __future__ import annotations

import argparse

from streamer.cli.options import Commands, add_command, add_json, add_target
from streamer.cli.output import print_json
from streamer.cli.target import load_app

__all__ = ["add"]


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "topology",
        "show the subtopologies, topics and stores of an application",
        execute=_execute,
    )
    add_target(command)
    form = command.add_mutually_exclusive_group()
    form.add_argument("--mermaid", action="store_true", help="print a Mermaid flowchart")
    add_json(form)


def _execute(arguments: argparse.Namespace) -> int:
    app = load_app(arguments.target)
    from streamer.topology.describe import as_dict, mermaid, text

    topology = app.topology()
    if arguments.json:
        print_json(as_dict(topology))
    else:
        print(mermaid(topology) if arguments.mermaid else text(topology))
    return 0
