"""Options that several commands share, and the configuration that they lead to."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streamer.errors import ConfigError

if TYPE_CHECKING:
    from streamer.config import Config, Resolved
    from streamer.operations.repartition.code import Code
    from streamer.topology.app import App
    from streamer.topology.graph import Topology

__all__ = [
    "APP_VARIABLE",
    "Commands",
    "add_application",
    "add_command",
    "add_configuration",
    "add_json",
    "add_processes",
    "add_target",
    "application",
    "code_given",
    "count",
    "given_sets",
    "resolved",
    "same_settings",
]

Commands = Any  # argparse hides the type of what add_subparsers() returns

APP_VARIABLE = "STREAMER_APP"
# Options that are settings under a shorter name, for those that differ from worker to worker.
_SHORT = ("bootstrap_servers", "state_dir", "worker_id", "zone", "http_port")


def add_command(
    commands: Commands, name: str, summary: str, *, details: str = "", execute: Any = None
) -> argparse.ArgumentParser:
    """A command with its one-line summary; `execute(arguments) -> exit code` runs it.

    Without `execute` it is a group of commands.
    """
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=details or None,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if execute is not None:
        command.add_argument("--debug", action="store_true", help="show a traceback for any error")
        command.set_defaults(execute=execute)
    return command


def add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "target", metavar="MODULE:APP", help="where the App is, such as shop.stream:app"
    )


def add_json(command: argparse._ActionsContainer) -> None:
    command.add_argument("--json", action="store_true", help="print JSON instead of text")


def add_application(command: argparse.ArgumentParser) -> None:
    """For commands that ask a running application: which, and where its Kafka is."""
    command.add_argument(
        "--app",
        metavar="APP",
        help=f"MODULE:APP, or an application id (default: the variable {APP_VARIABLE})",
    )
    add_configuration(command, short=("bootstrap_servers",))


def add_configuration(command: argparse.ArgumentParser, *, short: Sequence[str] = _SHORT) -> None:
    """`--config`, `--set` and the settings that have an option of their own."""
    command.add_argument(
        "--config", metavar="FILE", help="TOML file with settings (default: streamer.toml)"
    )
    command.add_argument(
        "--set",
        metavar="NAME=VALUE",
        dest="sets",
        action="append",
        default=[],
        help="a setting, wins over every other source; may be repeated",
    )
    for name in short:
        option = "--" + name.replace("_", "-")
        command.add_argument(option, metavar="VALUE", help=f"the same as --set {name}=VALUE")


def add_processes(command: argparse.ArgumentParser) -> None:
    """For commands that are workers, one or several."""
    command.add_argument(
        "--processes",
        metavar="N",
        type=count,
        default=1,
        help="worker processes to start (default: 1); one uses one CPU",
    )
    # Given by the parent of several processes: which of them this one is.
    command.add_argument("--slot", type=int, help=argparse.SUPPRESS)


def same_settings(arguments: argparse.Namespace) -> list[str]:
    """What a child is given that is to have the configuration of this command."""
    given = [] if arguments.config is None else ["--config", arguments.config]
    for text in given_sets(arguments):
        given += ["--set", text]
    return given + (["--debug"] if arguments.debug else [])


def count(text: str) -> int:
    """A number of processes, for argparse."""
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, 1 or more")
    return number


def given_sets(arguments: argparse.Namespace) -> list[str]:
    """All settings of the command line as NAME=VALUE; explicit --set come last and win."""
    given = {name: getattr(arguments, name, None) for name in _SHORT}
    return [
        *(f"{name}={value}" for name, value in given.items() if value is not None),
        *arguments.sets,
    ]


def resolved(app: App, arguments: argparse.Namespace) -> Resolved:
    """The configuration of the app with all that the command line says."""
    return _resolve(app.application_id, app.settings, arguments)


def topology_given(arguments: argparse.Namespace) -> Topology:
    """Of the application's code where `--app` names that, else as its workers tell it."""
    from streamer.cli.target import load_app
    from streamer.operations.repartition.survey import told_topology

    name = arguments.app or os.environ.get(APP_VARIABLE, "")
    return load_app(name).topology() if ":" in name else told_topology(application(arguments))


def code_given(arguments: argparse.Namespace) -> Code | None:
    """What gives the topology of the application's code; None where `--app` names an id alone."""
    from streamer.cli.target import load_app

    name = arguments.app or os.environ.get(APP_VARIABLE, "")
    return (lambda: load_app(name).topology()) if ":" in name else None


def application(arguments: argparse.Namespace) -> Config:
    """The configuration with which to ask the application that `--app` names."""
    from streamer.cli.target import load_app, see_directory
    from streamer.kafka.settings import check

    see_directory()
    name = arguments.app or os.environ.get(APP_VARIABLE, "")
    if not name:
        raise ConfigError(
            "it is not known which application to ask",
            hint=f"give --app MODULE:APP or --app APPLICATION_ID, or set {APP_VARIABLE}",
        )
    if ":" in name:
        app = load_app(name)
        config = resolved(app, arguments).config
    else:
        config = _resolve(name, {}, arguments).config
    check(config)
    return config


def _resolve(
    application_id: str, keywords: Mapping[str, Any], arguments: argparse.Namespace
) -> Resolved:
    from streamer.config import resolve

    return resolve(
        application_id, keywords=keywords, file=arguments.config, sets=given_sets(arguments)
    )
