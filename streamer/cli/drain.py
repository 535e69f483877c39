"""`streamer drain`: empty workers and zones before they are stopped."""

from __future__ import annotations

import argparse

from streamer.cli.known import check_known
from streamer.cli.moves import add_detach, follow, operator_of
from streamer.cli.options import Commands, add_application, add_command, application
from streamer.cli.wish import Wish
from streamer.errors import ConfigError

__all__ = ["add"]

_DETAILS = """\
The workers go on until others are warm, then have nothing; they may be stopped without a gap. What
is drained stays drained, whoever is the controller, until --undo. The command ends when the drained
workers say that they have let go of everything; with exit code 1 where nobody else can have it, or
where somebody has stopped all moves: the same command goes on then.

  streamer drain --zone az=eu-1 --app shop.stream:app
  streamer drain --undo --zone az=eu-1 --app shop.stream:app
"""


def add(commands: Commands) -> None:
    drain = add_command(
        commands,
        "drain",
        "empty workers or zones before they are stopped",
        details=_DETAILS,
        execute=_drain,
    )
    drain.add_argument(
        "--zone",
        metavar="TAG",
        action="append",
        default=[],
        dest="zones",
        help="a tag of the zone, such as az=eu-1; may be repeated",
    )
    drain.add_argument(
        "--worker",
        metavar="ID",
        action="append",
        default=[],
        dest="workers",
        help="a worker; may be repeated",
    )
    drain.add_argument("--undo", action="store_true", help="let them be given tasks again")
    add_application(drain)
    add_detach(drain)


def _drain(arguments: argparse.Namespace) -> int:
    zones, workers = frozenset(arguments.zones), frozenset(arguments.workers)
    if not (zones or workers):
        raise ConfigError(
            "it is not said what to drain", hint="give --zone TAG or --worker ID, such as az=eu-1"
        )
    for zone in sorted(zones):
        name, mark, value = zone.partition("=")
        if not (name and mark and value) or "," in zone:
            raise ConfigError(
                f"--zone {zone!r} is not a tag", hint="give one name=value, such as az=eu-1"
            )
    from streamer.control.client import Control

    config = application(arguments)
    with (
        operator_of(arguments) as operator,
        Control(config, reads_assignments=False) as control,
    ):
        stands = operator.draining()
        seen = control.workers()
        notes = check_known(
            zones,
            workers,
            places={each.worker: each.zone for each in seen},
            alive={each.worker for each in seen if each.is_alive},
            drained={*stands.zones, *stands.workers},
        )
        for note in () if arguments.undo else notes:
            print(note, flush=True)
        wish = Wish(
            operator,
            zones,
            workers,
            is_undone=arguments.undo,
            places=lambda: {name: said.zone for name, said in control.statuses().items()},
        )
        asked = wish.ask()
        named = ", ".join([*asked.zones, *asked.workers]) or "nothing"
        print(f"drained: {named}", flush=True)
        if asked.kept:
            print(f"stopped before, and not moved by this: {', '.join(asked.kept)}", flush=True)
        return 0 if arguments.detach else follow(operator, wish.look)
