"""`streamer drain`: empty workers and zones before they are stopped.

ask --> stands --> looked at --> held by fewer and fewer --> nothing is held: done
         |  ^                    `--> nobody else can have the rest: failed
         |  `-- asked for again, merged
         `-- replaced by one that was asked for at the same time
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamer.cli.moves import add_detach, follow, no_moves, operator_of, progress
from streamer.cli.options import Commands, add_application, add_command
from streamer.errors import (
    ConfigError,
    KafkaUnavailableError,
    OperationRefusedError,
    UnfinishedError,
)

if TYPE_CHECKING:
    from streamer.control.operator import Operator
    from streamer.control.requests import DrainRecord, PlanRecord

__all__ = ["Wish", "add"]

_DETAILS = """\
The workers go on until others are warm, then have nothing; they may be stopped without a gap. What
is drained stays drained, whoever is the controller, until --undo. The command ends when the drained
workers say that they have let go of everything; with exit code 1 where nobody else can have it.

  streamer drain --zone az=eu-1 --app shop.stream:app
  streamer drain --undo --zone az=eu-1 --app shop.stream:app
"""
_ANSWER_S = 30.0


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
    with operator_of(arguments) as operator:
        wish = Wish(operator, zones, workers, is_undone=arguments.undo)
        asked = wish.ask()
        named = ", ".join([*asked.zones, *asked.workers]) or "nothing"
        print(f"drained: {named}", flush=True)
        return 0 if arguments.detach else follow(operator, wish.look)


@dataclass
class Wish:
    """What is to be drained, or not any more, until the controller has done it."""

    operator: Operator
    zones: frozenset[str]
    workers: frozenset[str]
    is_undone: bool = False
    answer_s: float = _ANSWER_S
    _names: set[str] = field(default_factory=set)
    _awaited: str = ""
    _since_s: float = 0.0
    """Since when no controller has looked at the drain that is awaited."""

    def ask(self) -> DrainRecord:
        """Beside what is drained already."""
        now = self.operator.draining()
        zones, workers = set(now.zones), set(now.workers)
        if self.is_undone:
            zones, workers = zones - self.zones, workers - self.workers
        else:
            zones, workers = zones | self.zones, workers | self.workers
        asked = self.operator.drain(zones=zones, workers=workers, follows=now.name)
        self._names.add(asked.name)
        self._awaited, self._since_s = asked.name, time.monotonic()
        return asked

    def look(self, plan: PlanRecord | None) -> tuple[str, bool]:
        """What there is to say, and whether that is the end. Raises KafkaUnavailableError where no
        controller looks at it, OperationRefusedError where somebody has taken it back, and
        UnfinishedError where drained workers keep what nobody else can have."""
        stands = self.operator.draining()
        if not self._is_met(stands):
            if self.operator.is_informed(stands, self._names):
                raise OperationRefusedError(
                    f"what was asked for was taken back by {stands.by or 'somebody'}",
                    hint="ask them; the same command asks for it again",
                )
            self.ask()
            return "something else was asked for at the same time: asked again for both", False
        now_s, is_answered = time.monotonic(), plan is not None and plan.drain == stands.name
        if is_answered or stands.name != self._awaited:
            self._awaited, self._since_s = stands.name, now_s
        if plan is None or not is_answered:
            if now_s - self._since_s > self.answer_s:
                raise KafkaUnavailableError(
                    f"no controller has looked at the request in {self.answer_s:g} s",
                    hint="it stands, and the next controller finds it; streamer show workers tells"
                    " who is one",
                )
            return "waiting for the controller", False
        return no_moves(plan) if self.is_undone else _emptied(plan)

    def _is_met(self, drain: DrainRecord) -> bool:
        """Whether a drain has in it what is wanted here."""
        drained = self.zones.intersection(drain.zones) | self.workers.intersection(drain.workers)
        return not drained if self.is_undone else drained == self.zones | self.workers


def _emptied(plan: PlanRecord) -> tuple[str, bool]:
    """Until drained workers say themselves that they have nothing."""
    held = sum(plan.holding.values())
    if not held:
        return "done: the drained workers have let go of everything", True
    named = ", ".join(sorted(plan.holding)[:3]) + (", ..." if len(plan.holding) > 3 else "")
    if all(count <= plan.staying.get(worker, 0) for worker, count in plan.holding.items()):
        modes = "; ".join(f"{mode.name} ends with {mode.until}" for mode in plan.modes)
        raise UnfinishedError(
            f"{held} tasks and copies stay on {named}: nobody else can have them"
            + (f" ({modes})" if modes else ""),
            hint="the drain stands: start workers elsewhere, and they are moved; or take it back"
            " with --undo. Do not stop the drained workers before",
        )
    return f"{held} tasks and copies are still on {named}; {progress(plan)}", False
