"""What operators ask of the controller, and what it answers: `<application>.operations`.

    drain       DrainRecord       by `streamer drain`
    propose     ProposeRecord     by `streamer rebalance plan`
    rebalance   RebalanceRecord   by `streamer rebalance apply` and `stop`
    pause       PauseRecord       by the operation that is about to switch layouts
    proposal    ProposalRecord    by the controller alone: a placement to look at
    plan        PlanRecord        by the controller alone: where it is going

A request stays until it is replaced or taken back: a new controller finds it in the log and goes by
it, so nothing has to be asked for twice. A deposed controller can write none of its own. Each names
its `application`, "" where a release wrote it that did not: one of another is refused.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct

from streamer.control.numbers import Lag, Whole
from streamer.control.outline import Outline
from streamer.control.versions import check_format
from streamer.errors import InternalTopicError

__all__ = [
    "FORMAT",
    "Answer",
    "DrainRecord",
    "ModeRecord",
    "MoveRecord",
    "PauseRecord",
    "PlanRecord",
    "ProposalRecord",
    "ProposeRecord",
    "RebalanceRecord",
    "Request",
    "decode",
    "encode",
    "key_of",
    "refuse_foreign",
]

FORMAT = 1


class DrainRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Workers that shall end up with nothing: those named, and all in these zones (`az=eu-1`).
    `number` tells one asking from another, and `follows` is the number of the drain that stood when
    this one was asked for: it replaces that one, and no other. `kept` are those of its zones and
    workers whose drain was stopped before: they are given nothing, and keep what they have."""

    format: Whole = FORMAT
    number: str = ""
    follows: str = ""
    zones: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    by: str = ""
    at_ms: Whole = 0
    application: str = ""

    @property
    def name(self) -> str:
        """What the controller answers by; an older release gave no numbers."""
        return self.number or ",".join((*self.zones, *self.workers))

    def stopped(self, halted: str) -> frozenset[str]:
        """The zones and workers whose drain is stopped, where the drain of that name was."""
        is_all = bool(halted) and halted == self.name
        return frozenset((*self.zones, *self.workers) if is_all else self.kept)


class ProposeRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Have a placement computed from what is known now; `number` tells one asking from another."""

    format: Whole = FORMAT
    number: str
    by: str = ""
    at_ms: Whole = 0
    application: str = ""


class RebalanceRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Go towards the proposal of this id, or stop what is under way where `stops` is set. `number`
    tells one asking from another. A stop names the `drain` that stood when it was asked for, "" for
    none: that one is stopped, too, and none that is asked for later. An older release did not
    say."""

    format: Whole = FORMAT
    number: str
    id: str = ""
    stops: bool = False
    drain: str | None = None
    by: str = ""
    at_ms: Whole = 0
    application: str = ""

    @property
    def words(self) -> str:
        """What it asks for, and who did."""
        what = "a stop of all moves" if self.stops else f"plan {self.id}"
        return f"{what}, which {self.by or 'somebody'} asked for"


class PauseRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """No worker is to process under the layout that holds, for `lease_ms` at most; or again, where
    `is_over`. `number` is of one claim of the right to record layouts: it is written under that
    claim, so that none comes after the claim has ended (streamer/cluster/pause.py)."""

    format: Whole = FORMAT
    number: str
    lease_ms: Whole = 0
    is_over: bool = False
    by: str = ""
    at_ms: Whole = 0
    application: str = ""


class MoveRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change. `kind` is `active` (another worker is to process the task), `standby` (a copy is
    built), `swap` (roles change between copies that are there) or `drop`; `left` counts the offsets
    that the target has yet to read, -1 while that is not known."""

    task: str
    kind: str
    source: str = ""
    target: str = ""
    bytes: Whole = 0
    left: Lag = -1
    why: str = ""


class ModeRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A way in which the placement is less than it should be, and what would end it."""

    name: str
    concerns: Whole = 0
    examples: tuple[str, ...] = ()
    until: str = ""
    since_ms: Whole = 0


class ProposalRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A placement to look at, and to have applied as it is. `before` and `after` name the active
    and the standbys of the tasks that change; `id` is the hash of both. `modes` are the degraded
    modes that would be left of `modes_before`. `spread_before` and `spread_after` tell by measure
    how far the fullest worker is above its share, in per cent. All of it is of one moment.
    Further tasks and `moves` are in so many `pages` (proposals.py)."""

    format: Whole = FORMAT
    id: str
    number: str = ""
    before: dict[str, tuple[str, ...]] = {}
    after: dict[str, tuple[str, ...]] = {}
    moves: tuple[MoveRecord, ...] = ()
    moved_bytes: Whole = 0
    modes_before: tuple[ModeRecord, ...] = ()
    modes: tuple[ModeRecord, ...] = ()
    spread_before: dict[str, Whole] = {}
    spread_after: dict[str, Whole] = {}
    pages: Whole = 0
    at_ms: Whole = 0
    application: str = ""


class PlanRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the controller is going. `moves` are the first of `moves_left`; `waiting` counts copies
    that the limits hold back, `away` the workers that are waited for, `beginning` those of them
    that are not back since the layout was switched to, `idle` those that are given nothing and why.
    `rebalance` says what became of the last request: its number, and how.
    `topology` tells the shape of all workers that are given tasks, one text for each subtopology,
    and `shape` is its digest: told here once, and not in each assignment. `outline` has all that a
    change of the layout goes by, so that whoever plans one needs no code of the application.

    `drain` is the number of the drain that the placement goes by, `halted` of the one that was
    stopped last: where both are the same, its workers keep what they have. Of its workers,
    `holding` counts the tasks and copies that each has not let go of, by its own report, and
    `staying` those of them that nobody else can have. `settings` are those that the placement was
    made with: where it is there, `goals.py` has the rest of what the next controller goes on with.

    `pause` says what became of the last pause: its number, and `asked`, `holds`, `lapsed` or
    `lifted`. While it is asked for, `unpaused` names the first of those who may still process.
    """

    format: Whole = FORMAT
    controller: str
    why: str = ""
    moves: tuple[MoveRecord, ...] = ()
    moves_left: Whole = 0
    building: Whole = 0
    waiting: Whole = 0
    modes: tuple[ModeRecord, ...] = ()
    away: tuple[str, ...] = ()
    beginning: tuple[str, ...] = ()
    idle: dict[str, str] = {}
    draining: tuple[str, ...] = ()
    rebalance: tuple[str, str] = ("", "")
    drain: str = ""
    halted: str = ""
    holding: dict[str, Whole] = {}
    staying: dict[str, Whole] = {}
    settings: str = ""
    shape: str = ""
    topology: tuple[str, ...] = ()
    outline: Outline = ()
    pause: tuple[str, str] = ("", "")
    unpaused: tuple[str, ...] = ()
    at_ms: Whole = 0
    application: str = ""


Request = DrainRecord | ProposeRecord | RebalanceRecord | PauseRecord
Answer = ProposalRecord | PlanRecord
Message = TypeVar("Message", bound=Struct)

_KEYS: dict[type[Struct], str] = {
    DrainRecord: "drain",
    ProposeRecord: "propose",
    RebalanceRecord: "rebalance",
    PauseRecord: "pause",
    ProposalRecord: "proposal",
    PlanRecord: "plan",
}
_encoder = msgspec.json.Encoder()
_decoders = {kind: msgspec.json.Decoder(kind) for kind in _KEYS}


def key_of(kind: type[Struct]) -> str:
    """The key under which such a record stands."""
    return _KEYS[kind]


def encode(message: Request | Answer, application: str = "") -> bytes:
    """As it is written to a topic of this application."""
    # The version is a default, and yet always written.
    plain = {"format": message.format, **msgspec.to_builtins(message)}
    return _encoder.encode(plain | {"application": application} if application else plain)


def decode(kind: type[Message], topic: str, value: bytes) -> Message:
    """Raises InternalTopicError for another format version, a record of another application, or
    bytes of another kind."""
    key = _KEYS[kind]
    try:
        check_format(value, FORMAT, topic=topic, key=key)
        message = cast(Message, _decoders[kind].decode(value))
    except msgspec.MsgspecError as error:
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} is not a control record: {error}",
            hint="only workers and the command line of the application may write there",
        ) from error
    refuse_foreign(cast(Any, message).application, topic, key)
    return message


def refuse_foreign(application: str, topic: str, key: str) -> None:
    """Raises InternalTopicError for the record of another application; an older release named
    none."""
    if application not in ("", topic.rpartition(".")[0]):
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} is of application {application!r}",
            hint="only workers and the command line of the application may write there:"
            " docs/security.md says how to take such a record out",
        )
