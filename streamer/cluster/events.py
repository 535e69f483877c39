"""What the controller's core is told, and what it asks for. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamer.control.goals import GoalRecord
from streamer.control.identity import Incarnation
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.requests import Answer, PlanRecord, Request

__all__ = [
    "Action",
    "EndPause",
    "Event",
    "Fence",
    "FenceFailed",
    "Fenced",
    "Forget",
    "Members",
    "PauseEnded",
    "Requested",
    "Resign",
    "Status",
    "Tell",
    "Write",
]


@dataclass(frozen=True, slots=True)
class Members:
    """The processes that are alive: (worker, session)."""

    sessions: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Status:
    """A status record was read."""

    record: StatusRecord


@dataclass(frozen=True, slots=True)
class Fenced:
    """The worker's transactional id was initialised anew after `Fence` was asked for."""

    worker: str
    incarnations: frozenset[Incarnation]


@dataclass(frozen=True, slots=True)
class FenceFailed:
    """It could not be done this time."""

    worker: str


@dataclass(frozen=True, slots=True)
class PauseEnded:
    """What became of `EndPause`: the layout that was recorded then, None where nobody could
    tell."""

    number: str
    layout: int | None


@dataclass(frozen=True, slots=True)
class Requested:
    """Somebody asked for something."""

    record: Request


Event = Members | Status | Fenced | FenceFailed | PauseEnded | Requested


@dataclass(frozen=True, slots=True)
class Fence:
    """Initialise the worker's transactional id anew. `incarnations` are those that this ends:
    their producers were made before this moment, since they were heard of before it."""

    worker: str
    incarnations: frozenset[Incarnation]


@dataclass(frozen=True, slots=True)
class EndPause:
    """Make sure that nothing came of this pause: read which layout is recorded. Where its lease is
    over (`fences`), take the right to record one from who asked for it before."""

    number: str
    fences: bool


@dataclass(frozen=True, slots=True)
class Write:
    """Write all these assignments in one transaction, or none; with them the pieces of the goal
    that are other ones now, and the plan where its target is another one."""

    records: tuple[AssignmentRecord, ...]
    goal: Mapping[int, GoalRecord] = field(default_factory=dict)
    plan: PlanRecord | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """Write tombstones of workers that are long gone, in both topics."""

    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resign:
    """Living workers of another topology have the tasks: this process has no place beside them."""

    topology: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tell:
    """Publish what the plan is, or a proposal, for those who ask."""

    record: Answer


Action = Fence | EndPause | Write | Forget | Resign | Tell
