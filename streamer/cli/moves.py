"""Moves that are under way, followed on the command line until they are over."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from streamer.cli.options import application
from streamer.cli.output import quiet_clients
from streamer.errors import KafkaUnavailableError, OperationRefusedError

if TYPE_CHECKING:
    from streamer.control.operator import Operator
    from streamer.control.requests import PlanRecord

__all__ = ["add_detach", "follow", "no_moves", "operator_of", "progress"]

_LOOK_S = 1.0
# An election takes a session and a moment; nobody who waits is told of a longer one by a record.
_SILENCE_S = 30.0

Look = Callable[["PlanRecord | None"], tuple[str, bool]]
"""What there is to say of a plan, and whether that is the end."""


def add_detach(command: argparse.ArgumentParser) -> None:
    command.add_argument("--detach", action="store_true", help="do not wait for the moves")


def operator_of(arguments: argparse.Namespace) -> Operator:
    from streamer.control.operator import Operator

    config = application(arguments)
    quiet_clients(arguments)
    return Operator(config)


def follow(operator: Operator, look: Look, *, pause_s: float = _LOOK_S) -> int:
    """Say how far the moves are until that is the end. Raises KafkaUnavailableError where nothing
    has come for long and no controller is there that could go on."""
    said, seen, since = "", operator.plan(), time.monotonic()
    while True:
        plan = operator.plan()
        line, is_over = look(plan)
        if line != said:
            print(line, flush=True)
            said = line
        if is_over:
            for mode in plan.modes if plan else ():
                print(f"still {mode.name}: ends when {mode.until}", file=sys.stderr)
            return 0
        now = time.monotonic()
        if plan != seen:
            seen, since = plan, now
        elif now - since > _SILENCE_S:
            if not operator.has_controller():
                raise KafkaUnavailableError(
                    f"nothing was heard for {_SILENCE_S:g} s, and no worker is the controller",
                    hint="what was asked for stands, and the next controller goes on with it:"
                    " streamer show workers tells who lives",
                )
            since = now
        time.sleep(pause_s)


def no_moves(plan: PlanRecord | None) -> tuple[str, bool]:
    """Until the controller has no more to move."""
    if plan is None:
        raise OperationRefusedError("no controller has told its plan yet", hint="ask again")
    if not plan.moves_left:
        return "done: no moves are left", True
    return progress(plan), False


def progress(plan: PlanRecord) -> str:
    left = sum(max(move.left, 0) for move in plan.moves)
    return (
        f"{plan.moves_left} moves left, {plan.building} copies being built,"
        f" {plan.waiting} waiting; {left:,} offsets to read"
    )
