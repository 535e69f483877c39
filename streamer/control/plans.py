"""What an operation is to do, as a value: ordered steps, their cost, and where the way back ends.

A plan is made by a pure function of what was seen, and everything that function went by is in it.
Its id is the hash of all that: who approves an id approves exactly what runs, and a plan that is
made anew from another world has another id. Steps are carried out from the plan alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Struct

from streamer.control.numbers import Whole
from streamer.errors import InvariantError

__all__ = ["APPLICATION", "PLAN_FORMAT", "Cost", "Plan", "PlannedStep", "check_plan", "differences"]

PLAN_FORMAT = 1
APPLICATION = "application"
"""The scope of structural operations, of which an application has one at a time."""

# A plan is part of its operation's record, which is written again with each progress.
STEPS_MAX = 500
BYTES_MAX = 512 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SCOPE = re.compile(r"[a-z0-9][A-Za-z0-9._/-]{0,120}")
_SHOWN = 10


class Cost(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is expected; 0 where nothing of the kind is. `pause_ms` is how long nothing is
    processed."""

    bytes: Whole = 0
    records: Whole = 0
    seconds: Whole = 0
    pause_ms: Whole = 0


class PlannedStep(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step. `id` is one word everywhere: in records, on the command line, as a task of Airflow.
    `parameters` are all that the step needs to know; `summary` says to people what it does."""

    id: str
    summary: str
    parameters: dict[str, Any] = {}
    cost: Cost = Cost()


class Plan(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`scope` is what the operation holds alone: `application`, or less, such as `task/0_3`.

    `no_return` names the step after which there is no way back: from when it has begun, or, where
    its effect is one record, from when the world says that it is done (`no_return_when`). `lost`
    says in sentences what cannot be undone then. `seen` are the facts that the plan rests on.
    """

    format: Whole
    kind: str
    steps: tuple[PlannedStep, ...]
    scope: str = APPLICATION
    cost: Cost = Cost()
    no_return: str = ""
    no_return_when: Literal["begun", "done"] = "begun"
    lost: tuple[str, ...] = ()
    seen: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """The hash of everything in it, the same wherever and however often it is computed."""
        return sha256(_canonical(self)).hexdigest()


_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(Plan)


def _canonical(plan: Plan) -> bytes:
    """In the order of names, and without what is as it is by default: so a later release may have
    more fields, and reads the plans of this one with their ids. (`omit_defaults` will not do: it
    leaves out a text only where it is the very object of the default.)"""
    return _encoder.encode(_told(plan))


def _told(value: Any) -> Any:
    if isinstance(value, Struct):
        return {
            each.name: _told(found)
            for each in msgspec.structs.fields(value)
            if (found := getattr(value, each.name)) not in (each.default, {})
        }
    return [_told(each) for each in value] if isinstance(value, tuple) else value


def check_plan(plan: Plan) -> None:
    """Raise InvariantError for a plan that no kind may make."""
    names = [step.id for step in plan.steps]
    if plan.format != PLAN_FORMAT:
        raise _wrong(plan, f"has format {plan.format}, not {PLAN_FORMAT}")
    if not _NAME.fullmatch(plan.kind) or not _SCOPE.fullmatch(plan.scope):
        raise _wrong(plan, f"has the scope {plan.scope!r}")
    if bad := [name for name in names if not _NAME.fullmatch(name)]:
        raise _wrong(plan, f"has steps with names that are none: {bad}")
    if len(set(names)) != len(names) or len(names) > STEPS_MAX:
        raise _wrong(
            plan, f"has {len(names)} steps, {len(set(names))} of them with names of their own"
        )
    if plan.no_return and plan.no_return not in names:
        raise _wrong(plan, f"has no step {plan.no_return!r} of which there is no return")
    encoded = _canonical(plan)
    if len(encoded) > BYTES_MAX:
        raise _wrong(plan, f"has {len(encoded):,} bytes; at most {BYTES_MAX:,} fit into its record")
    if _canonical(_decoder.decode(encoded)) != encoded:
        raise _wrong(plan, "is another one when it is read again")


def differences(before: Plan, now: Plan) -> list[str]:
    """What is not as it was, a line each: `seen.end: 812 (was 640)`. Empty for equal plans."""
    old, new = dict(_leaves("", _plain(before))), dict(_leaves("", _plain(now)))
    found = [
        f"{path}: {_shown(new, path)} (was {_shown(old, path)})"
        for path in sorted(old.keys() | new.keys())
        if old.get(path, ...) != new.get(path, ...)
    ]
    names, earlier = ([step.id for step in plan.steps] for plan in (now, before))
    if names != earlier and sorted(names) == sorted(earlier):
        found.append("the steps are in another order")
    more = len(found) - _SHOWN
    return found[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])


def _plain(plan: Plan) -> Any:
    return msgspec.json.decode(_canonical(plan))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    named: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        named = [(str(name), one) for name, one in value.items()]
    elif isinstance(value, list):
        # Steps by their name: one that is new does not make all after it look changed.
        named = [
            (str(one.get("id", at)) if isinstance(one, dict) else str(at), one)
            for at, one in enumerate(value)
        ]
    if not named:
        yield path, value
    for name, one in named:
        yield from _leaves(f"{path}.{name}" if path else name, one)


def _shown(leaves: dict[str, Any], path: str) -> str:
    return repr(leaves[path]) if path in leaves else "nothing"


def _wrong(plan: Plan, what: str) -> InvariantError:
    return InvariantError(f"a plan of kind {plan.kind!r} {what}")
