"""The kind `replay`: what must hold before it is begun, and its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamer.control.plans import PLAN_FORMAT, Cost, Plan, PlannedStep
from streamer.errors import OperationRefusedError
from streamer.operations.books import REPLAY as REPLAY_KIND
from streamer.operations.kinds import Step
from streamer.operations.repartition.kind import (
    Repartition,
    check_code_given,
    check_layout,
    check_new_topics,
    check_widths,
    check_workers,
    steps_told,
)
from streamer.operations.repartition.ports import World
from streamer.operations.repartition.request import Asked, read_request
from streamer.operations.repartition.steps import SWITCH
from streamer.operations.replay.beginning import moment
from streamer.operations.replay.request import unreachable
from streamer.operations.replay.steps import BASE, FORGET, REPLAY, STEPS, made

__all__ = ["Replay"]

# Measured: what one process of the built-in aggregates does, with room for user code.
_PROCESSED_PER_S = 40_000
_COPIED_PER_S = 50_000
_ALWAYS_S = 20
_PAUSE_MS = 2_000
_WRITES = {
    "off": "writes no results",
    "side": "writes its results to topics of their own, which stay",
    "on": "writes its results once more where they went, with a header: nothing takes them back",
}


class Replay(Repartition):
    """A repartition whose state another application has computed, in the same world."""

    name = REPLAY_KIND

    def plan(self, world: World, request: Mapping[str, Any]) -> Plan:
        """Raises OperationRefusedError where the world is not as the request was made for."""
        asked = _read(request)
        check_layout(asked, world)
        check_widths(asked, world)
        check_new_topics(asked, world)
        check_workers(asked, world)
        check_code_given(asked, world)
        _check_reach(asked, world)
        told = steps_told(asked) | {
            BASE: _base_told(asked),
            REPLAY: f"{asked.origin} reads {', '.join(sorted(asked.inputs))} from"
            f" {_begin_told(asked)}, and {_WRITES[asked.outputs]}",
            FORGET: f"delete the topics and groups of {asked.origin}",
        }
        records = asked.expected.records
        return Plan(
            format=PLAN_FORMAT,
            kind=self.name,
            steps=tuple(
                PlannedStep(
                    id=each,
                    summary=told[each],
                    parameters=asked.plain() if each == SWITCH else {},
                )
                for each in STEPS
            ),
            cost=Cost(
                records=records,
                bytes=asked.expected.bytes,
                seconds=records // _PROCESSED_PER_S + records // _COPIED_PER_S + _ALWAYS_S,
                pause_ms=_PAUSE_MS,
            ),
            no_return=SWITCH,
            no_return_when="done",
            lost=(f"the state of layout {asked.before.number} is not kept up to date any more",),
            seen={"layout": asked.before.number, "shape": asked.shape, "inputs": asked.inputs},
        )

    def steps(self, plan: Plan) -> Sequence[Step[World]]:
        parameters = next(step.parameters for step in plan.steps if step.id == SWITCH)
        return made(_read(parameters))


def _read(request: Mapping[str, Any]) -> Asked:
    asked = read_request(request)
    if asked.source is None:
        raise OperationRefusedError(
            "this is no request of a replay", hint="make one with `streamer replay plan`"
        )
    return asked


def _base_told(asked: Asked) -> str:
    if not asked.base:
        return "nothing: it begins with the begin of its input"
    oldest, newest = (each(one.as_of_ms for one in asked.base.values()) for each in (min, max))
    return (
        f"give {asked.origin} the state of {len(asked.base)} snapshots of {moment(oldest)} to"
        f" {moment(newest)}"
    )


def _begin_told(asked: Asked) -> str:
    if asked.interval is None:
        return "there" if asked.base else "the begin"
    interval, begin = asked.interval, "the begin"
    if asked.former:
        oldest = min(one.as_of_ms for one in asked.former.values())
        begin = f"where snapshots of {moment(oldest)} or later stand"
    return (
        f"{begin}, computes the windows of {', '.join(interval.stores)} that begin at"
        f" {moment(interval.from_ms)} or later and before {moment(interval.to_ms)}, and all else"
        f" from where those of step {BASE} stand"
    )


def _check_reach(asked: Asked, world: World) -> None:
    starts = world.ports.starts(asked.input_places)
    if gone := unreachable(starts, asked.begin):
        wanted = asked.begin.get(str(gone[0]), 0)
        raise OperationRefusedError(
            f"the input does not reach back so far any more: {gone[0]} begins at"
            f" {starts[gone[0]]}, and is to be read from {wanted}; so it is with {len(gone)}"
            " partitions in all",
            hint="what it has lost cannot be computed again; begin with snapshots: streamer replay"
            f" plan --from TIME{' --to TIME' if asked.interval else ''}",
        )
