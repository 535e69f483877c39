"""`streamer rebalance`: look at moves, have them made, stop them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from streamer.cli.moves import add_detach, follow, no_moves, operator_of
from streamer.cli.options import Commands, add_application, add_command, add_json
from streamer.cli.output import print_json, print_table
from streamer.cli.wish import as_options, stopped_drain
from streamer.errors import UnfinishedError

if TYPE_CHECKING:
    from streamer.control.operator import Operator
    from streamer.control.requests import MoveRecord, PlanRecord, ProposalRecord

__all__ = ["add"]

_DETAILS = """\
Workers that come and go are placed by themselves. A plan is for what drifts meanwhile: tasks that
have grown, or take more records than others. It is applied exactly as it was shown, or not at all.
A stop leaves every task where it is, and halts a drain: that goes on when it is asked for again.

  streamer rebalance plan --app shop.stream:app
  streamer rebalance apply 3f9a01c2d4e5 --app shop.stream:app
"""
_ANSWER_S = 30.0
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
    add_detach(apply)


def _plan(arguments: argparse.Namespace) -> int:
    with operator_of(arguments) as operator:
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
        print(f"\nplan {proposal.id}: {len(proposal.after)} tasks change,", end=" ")
        print(
            f"{proposal.moved_bytes:,} bytes are moved; nothing is dropped before others are warm"
        )
        for measure, before in proposal.spread_before.items():
            after = proposal.spread_after.get(measure, 0)
            print(f"  fullest worker above its share of {measure}: {before} % -> {after} %")
        print(f"\nstreamer rebalance apply {proposal.id}")
    for mode in proposal.modes:
        print(f"{mode.name}: {mode.concerns} ({', '.join(mode.examples)}); ends when {mode.until}")


def _apply(arguments: argparse.Namespace) -> int:
    with operator_of(arguments) as operator:
        number = operator.apply(arguments.id, timeout_s=_ANSWER_S)
        print(f"plan {arguments.id} is adopted", flush=True)
        if arguments.detach:
            return 0
        return follow(
            operator, lambda told: moves_of(operator, told, wanted=arguments.id, number=number)
        )


def moves_of(
    operator: Operator, plan: PlanRecord | None, *, wanted: str, number: str
) -> tuple[str, bool]:
    """Until the moves of the plan `wanted`, which the request of this number asked for, are made.
    Raises UnfinishedError where a newer request was taken up instead."""
    line, is_over = no_moves(plan)
    newer = operator.replaced_by(number)
    if plan is None or newer is None or plan.rebalance[0] != newer.number:
        return line, is_over
    if plan.rebalance[1].startswith("refused"):  # And so this one goes on.
        return line, is_over
    raise UnfinishedError(
        f"plan {wanted} was replaced by {newer.words}: what was not moved by then is not moved by"
        " it",
        hint="streamer show moves tells where tasks go now; streamer rebalance plan looks anew",
    )


def _stop(arguments: argparse.Namespace) -> int:
    with operator_of(arguments) as operator:
        operator.stop(timeout_s=_ANSWER_S)
        print("stopped: every task stays where it is; copies that are being built are finished")
        stands, plan = operator.draining(), operator.plan()
    names = frozenset((*stands.zones, *stands.workers))
    if not names:
        return 0
    stopped = stands.stopped(plan.halted if plan else "")
    if stopped != names:
        options = as_options(names - stopped)
        raise UnfinishedError(
            f"the drain of {', '.join(sorted(names - stopped))} goes on: it was asked for at the"
            " same time, or the controller is of an older release",
            hint=f"give the command again, or take it back: streamer drain --undo {options}",
        )
    print(stopped_drain(stopped))
    return 0


def _plain(record: ProposalRecord | MoveRecord) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain
