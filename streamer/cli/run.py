"""`streamer run`: start workers of an application and stay until they are told to stop."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from streamer.cli.options import (
    Commands,
    add_command,
    add_configuration,
    add_processes,
    add_target,
    resolved,
    same_settings,
)
from streamer.cli.target import load_app
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from streamer.config import Config

__all__ = ["add"]

_DETAILS = """\
SIGTERM or Ctrl-C stops cleanly: what was processed is committed. A second one stops at once; the
uncommitted rest is processed again at the next start. Of several processes the first takes the
HTTP port that is set, the second the next one, and so on; one that ends by itself is started
again, after a pause.

  streamer run shop.stream:app --bootstrap-servers kafka:9092 --processes 4
"""


def add(commands: Commands) -> None:
    command = add_command(
        commands, "run", "run workers of an application", details=_DETAILS, execute=_execute
    )
    add_target(command)
    add_processes(command)
    add_configuration(command)


def _execute(arguments: argparse.Namespace) -> int:
    app = load_app(arguments.target)
    config = resolved(app, arguments).config
    from streamer import log
    from streamer.worker.checks import check

    log.configure(config.log_level, config.log_format)
    check(app.topology(), config)
    if arguments.processes > 1:
        _check_several(config)
        from streamer.worker import supervisor

        return supervisor.run_processes(_command(arguments), config, arguments.processes)
    from streamer.worker.run import run

    return run(app, _of_slot(config, arguments.slot or 0), slot=arguments.slot)


def _check_several(config: Config) -> None:
    if config.worker_id is not None:
        raise ConfigError(
            f"worker_id {config.worker_id!r} cannot be that of several processes",
            hint="leave it out: each keeps an id of its own in the state directory",
        )


def _command(arguments: argparse.Namespace) -> list[str]:
    """How to start one of several processes with the same configuration."""
    command = [sys.executable, "-m", "streamer.cli.main", "run", arguments.target]
    return command + same_settings(arguments)


def _of_slot(config: Config, slot: int) -> Config:
    """A port of its own for each process; 0 is a free one anyway and -1 none."""
    if slot == 0 or config.http_port <= 0:
        return config
    host, colon, port = config.application_server.rpartition(":")
    server = f"{host}:{int(port) + slot}" if colon else ""
    return replace(config, http_port=config.http_port + slot, application_server=server)
