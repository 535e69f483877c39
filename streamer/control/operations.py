"""The records of operations, beside the controller's requests in `<application>.operations`.

    plan/<id>         OperationRecord   planned, and not begun; by anybody
    operation/<id>    OperationRecord   what is done, how far it is; by who holds the lock alone
    lock/<scope>      LockRecord        who that is, with an epoch that only grows
    cancel/<id>       CancelRecord      by anybody: stop, and take back what was done

A plan has a key of its own, so that it can never replace the record of what has begun. A record is
taken as a whole or refused: other versions, other applications, and whatever does not fit together.
Unknown fields are those of a later minor release.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from streamer.control.numbers import Lag, Whole
from streamer.control.plans import PLAN_FORMAT, Plan
from streamer.control.versions import check_format
from streamer.errors import InternalTopicError
from streamer.ids import control_topic

__all__ = [
    "FINISHED",
    "FORMAT",
    "CancelRecord",
    "LockRecord",
    "OperationRecord",
    "ProgressRecord",
    "StepRecord",
    "TroubleRecord",
    "cancel_key",
    "decode",
    "encode",
    "lock_key",
    "operation_key",
    "plan_key",
]

FORMAT = 1
State = Literal["planned", "running", "paused", "failed", "cancelling", "cancelled", "done"]
StepState = Literal["waiting", "running", "done", "undoing", "undone"]
FINISHED: frozenset[State] = frozenset({"done", "cancelled"})
"""Records in these states never change again."""


class ProgressRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a step is. Totals of 0 are not known, as is `eta_s` of -1. `held_by` says who or what
    makes it wait, `moved_ms` when it was further than before for the last time; 0 where a release
    wrote it that did not tell."""

    phase: str = ""
    number: Whole = 0
    of: Whole = 0
    bytes_done: Whole = 0
    bytes_total: Whole = 0
    bytes_per_s: Whole = 0
    records_done: Whole = 0
    records_total: Whole = 0
    records_per_s: Whole = 0
    eta_s: Lag = -1
    held_by: str = ""
    moved_ms: Whole = 0
    at_ms: Whole = 0


class StepRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`begun` counts how often it was begun: 0 means that it can have had no effect. `said` is what
    it told at its end."""

    id: str
    state: StepState = "waiting"
    begun: Whole = 0
    started_ms: Whole = 0
    ended_ms: Whole = 0
    said: str = ""
    progress: ProgressRecord | None = None


class TroubleRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ended the last try, and what to do."""

    message: str
    hint: str = ""
    step: str = ""
    at_ms: Whole = 0


class OperationRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation. `epoch` is that of the lock under which this was written, 0 while it is
    planned. `by` and `why` are of who wanted it, `executor` is who carries it out, `conductor` for
    whom that is or was done last, such as a run of Airflow. `note` is who wanted it cancelled, or
    what became of such a wish when there was no way back. `left` names the steps whose
    effects were left behind when it was abandoned."""

    format: Whole
    application: str
    id: str
    kind: str
    plan: Plan
    plan_id: str
    state: State
    steps: tuple[StepRecord, ...]
    epoch: Whole = 0
    request: dict[str, Any] = {}
    by: str = ""
    why: str = ""
    executor: str = ""
    conductor: str = ""
    trouble: TroubleRecord | None = None
    note: str = ""
    left: tuple[str, ...] = ()
    planned_ms: Whole = 0
    started_ms: Whole = 0
    ended_ms: Whole = 0
    at_ms: Whole = 0

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @property
    def has_begun(self) -> bool:
        """Whether any of its steps can have had an effect."""
        return any(step.begun for step in self.steps)


class LockRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which operation holds a scope, if any, and which process carries it out until its lease is
    over, if any. It stays when it is free: so the epoch never begins anew."""

    format: Whole
    application: str
    scope: str
    epoch: Whole
    operation: str = ""
    kind: str = ""
    owner: str = ""
    lease_ms: Whole = 0
    at_ms: Whole = 0

    def is_live(self, now_ms: int) -> bool:
        """Whether somebody may be at work: the lease is not over yet. Clocks that differ make this
        wrong at worst, never an effect: whoever is replaced is fenced."""
        return bool(self.owner) and now_ms < self.at_ms + self.lease_ms


class CancelRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The wish to stop an operation and to take back what it did."""

    format: Whole
    application: str
    operation: str
    by: str = ""
    why: str = ""
    at_ms: Whole = 0


Message = TypeVar("Message", OperationRecord, LockRecord, CancelRecord)

_FOREIGN = (
    "only who runs operations of the application may write there: take the right to write from"
    " everybody else; docs/security.md says how to take such a record out"
)
_encoder = msgspec.json.Encoder()
_decoders: dict[type[Struct], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (OperationRecord, LockRecord, CancelRecord)
}


def plan_key(operation: str) -> str:
    return f"plan/{operation}"


def operation_key(operation: str) -> str:
    return f"operation/{operation}"


def lock_key(scope: str) -> str:
    return f"lock/{scope}"


def cancel_key(operation: str) -> str:
    return f"cancel/{operation}"


def encode(message: OperationRecord | LockRecord | CancelRecord) -> bytes:
    return _encoder.encode(message)


def decode(kind: type[Message], application: str, *, key: str, value: bytes) -> Message:
    """Raises InternalTopicError for another version, another application, or what is not whole."""
    topic = control_topic(application, "operations")
    try:
        hint = "another release wrote it: use that one for this operation"
        check_format(value, FORMAT, topic=topic, key=key, hint=hint)
        message: Message = _decoders[kind].decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} is not a record of an operation: {error}",
            hint=_FOREIGN,
        ) from error
    if message.application != application:
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} is of application {message.application!r}",
            hint=_FOREIGN,
        )
    if key != _key_of(message):
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} speaks of {_key_of(message)!r}", hint=_FOREIGN
        )
    if isinstance(message, OperationRecord) and (wrong := _mismatch(message)):
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} {wrong}",
            hint="another release or somebody else wrote it: " + _FOREIGN,
        )
    return message


def _key_of(message: OperationRecord | LockRecord | CancelRecord) -> str:
    if isinstance(message, OperationRecord):
        return (plan_key if message.state == "planned" else operation_key)(message.id)
    if isinstance(message, LockRecord):
        return lock_key(message.scope)
    return cancel_key(message.operation)


def _mismatch(record: OperationRecord) -> str:
    """What of a record does not fit together; "" for a whole one."""
    plan = record.plan
    if plan.format != PLAN_FORMAT:
        return f"has a plan of format {plan.format}; this release reads {PLAN_FORMAT}"
    if record.kind != plan.kind or record.plan_id != plan.id:
        return "has a plan that is not the one of its id"
    if [step.id for step in record.steps] != [step.id for step in plan.steps]:
        return "has other steps than its plan"
    return ""
