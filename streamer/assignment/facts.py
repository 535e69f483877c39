"""What a placement is computed from, and what it is. Workers are named by their ids everywhere.

`previous` is the last target and may name workers that are gone. Where `warm` names a worker, a
copy is there and caught up; where `former` does, older state may lie on its disk, so that a move
there costs a tenth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from streamer.ids import TaskId

__all__ = [
    "Copies",
    "Facts",
    "Kind",
    "Load",
    "Mode",
    "Move",
    "Placement",
    "Policy",
    "Presence",
    "Site",
    "Zone",
]

Zone = tuple[tuple[str, str], ...]
"""The tags of a worker as (name, value), widest first, such as cloud, region, az, rack."""

Policy = Literal["strict", "relaxed"]
Kind = Literal["active", "standby", "drop", "swap"]


class Presence(Enum):
    """What a worker may be given.

    AWAY: left a moment ago and is waited for. It keeps standby places, takes one for each active
    role that another copy took over, and is given nothing else. DRAINING: lives and serves until
    its copies are elsewhere, is given nothing. HELD: keeps what it has, is given nothing but the
    role of a warm copy that nobody else has; its drain was stopped.
    """

    READY = "ready"
    AWAY = "away"
    DRAINING = "draining"
    HELD = "held"

    @property
    def is_asked_away(self) -> bool:
        """Nothing new is to go there, nor into its zone because of it."""
        return self in (Presence.DRAINING, Presence.HELD)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a worker is and how much it can carry beside the others. Without a name of the host
    it is taken to be alone on its own."""

    zone: Zone = ()
    host: str = ""
    capacity: int = 100
    presence: Presence = Presence.READY


@dataclass(frozen=True, slots=True)
class Load:
    """Of one copy of a task: what it takes on a disk, and its records per second when active.
    Zero is "not known"; where all are, copies are counted."""

    bytes: int = 0
    rate: int = 0
    has_state: bool = True


@dataclass(frozen=True, slots=True)
class Copies:
    """Who has a task. Without any worker that may be given it, nobody is its active."""

    active: str | None
    standbys: tuple[str, ...] = ()

    @property
    def workers(self) -> tuple[str, ...]:
        return self.standbys if self.active is None else (self.active, *self.standbys)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the solver may look at."""

    workers: Mapping[str, Site]
    tasks: Mapping[TaskId, Load]
    standby_replicas: int = 0
    previous: Mapping[TaskId, Copies] = field(default_factory=dict)
    warm: Mapping[TaskId, frozenset[str]] = field(default_factory=dict)
    former: Mapping[TaskId, frozenset[str]] = field(default_factory=dict)
    zone_policy: Policy = "strict"


@dataclass(frozen=True, slots=True)
class Move:
    """One difference to the previous target. `bytes` is what has to travel: nothing for a swap of
    roles and for a standby that takes over."""

    task: TaskId
    kind: Kind
    source: str | None
    target: str | None
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Mode:
    """A way in which the placement is less than it should be, and what would end that."""

    name: str
    count: int
    examples: tuple[str, ...]
    until: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Who shall have each task, what changes by that and why, and what is not as it should be."""

    copies: dict[TaskId, Copies]
    moves: tuple[Move, ...] = ()
    modes: tuple[Mode, ...] = ()
    idle: dict[str, str] = field(default_factory=dict)

    @property
    def moved_bytes(self) -> int:
        return sum(move.bytes for move in self.moves)
