"""`streamer rebalance` and `streamer drain`: look at moves, have them made, stop them."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from streamer.cli.options import Commands, add_application, add_command, add_json, application
from streamer.cli.output import print_json, print_table, quiet_clients
from streamer.errors import ConfigError, OperationRefusedError

if TYPE_CHECKING:
    from streamer.control.operator import Operator
    from streamer.control.requests import MoveRecord, PlanRecord, ProposalRecord

__all__ = ["add"]

_DETAILS = """\
Workers that come and go are placed by themselves. A plan is for what drifts meanwhile: tasks that
have grown, or take more records than others. It is applied exactly as it was shown, or not at all.

  streamer rebalance plan --app shop.stream:app
  streamer rebalance apply 3f9a01c2d4e5 --app shop.stream:app
"""
_DRAIN = """\
The workers go on until others are warm, then have nothing; they may be stopped without a gap. What
is drained stays drained, whoever is the controller, until --undo.

  streamer drain --zone az=eu-1 --app shop.stream:app
  streamer drain --undo --zone az=eu-1 --app shop.stream:app
"""
_ANSWER_S = 30.0
_LOOK_S = 1.0
_COLUMNS = ("task", "kind", "source", "target", "bytes", "why")


def add(commands: Commands) -> None:
    group = add_command(
        commands, "rebalance", "plan, apply and stop moves of tasks", details=_DETAILS
    )
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    plan = add_command(verbs, "plan", "show what a rebalance would move, and why", execute=_plan)
    apply = add_command(
        verbs, "apply", "make the moves of a plan, exactly as it was shown", execute=_apply
    )
    apply.add_argument("id", metavar="ID", help="of the plan, as `plan` printed it")
    stop = add_command(verbs, "stop", "leave every task where it is now", execute=_stop)
    for verb in (plan, apply, stop):
        add_application(verb)
    add_json(plan)
    _add_detach(apply)
    drain = add_command(
        commands,
        "drain",
        "empty workers or zones before they are stopped",
        details=_DRAIN,
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
    _add_detach(drain)


def _add_detach(command: argparse.ArgumentParser) -> None:
    command.add_argument("--detach", action="store_true", help="do not wait for the moves")


def _operator(arguments: argparse.Namespace) -> Operator:
    from streamer.control.operator import Operator

    config = application(arguments)
    quiet_clients(arguments)
    return Operator(config)


def _plan(arguments: argparse.Namespace) -> int:
    with _operator(arguments) as operator:
        proposal = operator.propose(timeout_s=_ANSWER_S)
    if arguments.json:
        print_json(_plain(proposal))
        return 0
    _print_proposal(proposal)
    return 0


def _print_proposal(proposal: ProposalRecord) -> None:
    if not proposal.after:
        print("nothing is to be moved: the placement is as good as it can be")
    else:
        print_table([_plain(move) for move in proposal.moves], _COLUMNS)
        more = len(proposal.after) - len({move.task for move in proposal.moves})
        if more > 0:
            print(f"... and {more} more tasks; --json has all of them")
        print(f"\nplan {proposal.id}: {len(proposal.after)} tasks change,", end=" ")
        print(
            f"{proposal.moved_bytes:,} bytes are moved; nothing is dropped before others are warm"
        )
        for measure, before in proposal.spread_before.items():
            after = proposal.spread_after.get(measure, 0)
            print(f"  fullest worker above its share of {measure}: {before} % -> {after} %")
        if proposal.is_partial:
            print("  there is more to do: plan again when this is done")
        print(f"\nstreamer rebalance apply {proposal.id}")
    for mode in proposal.modes:
        print(f"{mode.name}: {mode.concerns} ({', '.join(mode.examples)}); ends when {mode.until}")


def _apply(arguments: argparse.Namespace) -> int:
    with _operator(arguments) as operator:
        operator.apply(arguments.id, timeout_s=_ANSWER_S)
        print(f"plan {arguments.id} is adopted", flush=True)
        return 0 if arguments.detach else _follow(operator)


def _stop(arguments: argparse.Namespace) -> int:
    with _operator(arguments) as operator:
        operator.stop(timeout_s=_ANSWER_S)
    print("stopped: every task stays where it is; copies that are being built are finished")
    return 0


def _drain(arguments: argparse.Namespace) -> int:
    zones, workers = set(arguments.zones), set(arguments.workers)
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
    with _operator(arguments) as operator:
        now = operator.draining()
        if arguments.undo:
            zones, workers = set(now.zones) - zones, set(now.workers) - workers
        else:
            zones, workers = set(now.zones) | zones, set(now.workers) | workers
        before = operator.plan()
        operator.drain(zones=zones, workers=workers)
        named = ", ".join([*sorted(zones), *sorted(workers)]) or "nothing"
        print(f"drained: {named}", flush=True)
        if arguments.detach:
            return 0
        _wait_for_news(operator, before)
        return _follow(operator)


def _wait_for_news(operator: Operator, before: PlanRecord | None) -> None:
    """Until the controller has looked at the request, or has shown that it changes nothing."""
    deadline = time.monotonic() + 5 * _LOOK_S
    while operator.plan() == before and time.monotonic() < deadline:
        time.sleep(_LOOK_S / 5)


def _follow(operator: Operator) -> int:
    """Say how far the moves are until none is left."""
    said = ""
    while True:
        plan = operator.plan()
        if plan is None:
            raise OperationRefusedError("no controller has told its plan yet", hint="ask again")
        line = _progress(plan)
        if line != said:
            print(line, flush=True)
            said = line
        if not plan.moves_left:
            for mode in plan.modes:
                print(f"still {mode.name}: ends when {mode.until}", file=sys.stderr)
            return 0
        time.sleep(_LOOK_S)


def _progress(plan: PlanRecord) -> str:
    if not plan.moves_left:
        return "done: no moves are left"
    left = sum(max(move.left, 0) for move in plan.moves)
    return (
        f"{plan.moves_left} moves left, {plan.building} copies being built,"
        f" {plan.waiting} waiting; {left:,} offsets to read"
    )


def _plain(record: ProposalRecord | MoveRecord) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain
