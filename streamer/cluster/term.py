"""One controller's term: it claims the assignments, reads what is there, then plans and acts.

Everything outside is behind `Ports`, so that the simulation drives this very code. Any error ends
the term; the next one begins again from the log, and that is all the recovery there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from streamer.clock import Clock
from streamer.cluster.core import State, load, step
from streamer.cluster.events import (
    Action,
    Event,
    Fence,
    Fenced,
    FenceFailed,
    Forget,
    Members,
    Status,
    Write,
)
from streamer.control.identity import client_id
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.errors import InvariantError
from streamer.ids import TaskId

__all__ = ["MEMBERS_MS", "Ports", "Term"]

# A death shows in the members group when its session ends, which takes seconds: half a second more
# is little, and a fleet's list is too large to ask for more often. Joins and leaves are heard of
# at once through the status topic.
MEMBERS_MS = 500


class Ports(Protocol):
    """What a term needs from Kafka. Everything may raise; that ends the term."""

    def claim(self) -> None:
        """Become the only one that can write assignments."""

    def load(self) -> tuple[Sequence[AssignmentRecord], Sequence[StatusRecord]]:
        """The last record of each worker in both topics, read to their ends."""

    def statuses(self, *, to_end: bool) -> Sequence[StatusRecord]:
        """What was written since: without waiting long, or all there is at this moment."""

    def members(self) -> frozenset[tuple[str, str]] | None:
        """(worker, session) of every process in the group; None when nobody could tell."""

    def fence(self, fence: Fence) -> None:
        """Begin to fence; the outcome comes through `fences`."""

    def fences(self) -> Sequence[Fenced | FenceFailed]: ...

    def write(self, records: Sequence[AssignmentRecord]) -> None:
        """All in one transaction. Raises FencedError for a deposed controller."""

    def forget(self, workers: Sequence[str]) -> None: ...


class Term:
    """From the election of this process to its end as a controller."""

    def __init__(
        self,
        ports: Ports,
        *,
        worker: str,
        session: str,
        tasks: Iterable[TaskId],
        clock: Clock,
    ) -> None:
        self._ports = ports
        self._self = (worker, session)
        self._tasks = frozenset(tasks)
        self._clock = clock
        self._state: State | None = None
        self._sessions: frozenset[tuple[str, str]] = frozenset()
        self._members_ms: int | None = None

    @property
    def state(self) -> State | None:
        """None before `open` is through."""
        return self._state

    def open(self) -> None:
        """First nobody else can write, then everything is read: nothing can come in between."""
        self._ports.claim()
        assignments, statuses = self._ports.load()
        name = client_id(*self._self)
        self._state = load(name, self._tasks, assignments=assignments, statuses=statuses)

    def stir(self) -> None:
        """Something changed in the group: ask for its members in the next turn."""
        self._members_ms = None

    def turn(self) -> list[Action]:
        """One look at the world and what follows from it; returns what was done."""
        if self._state is None:
            raise InvariantError("a term takes its turns only after it was opened")
        events: list[Event] = [Status(each) for each in self._ports.statuses(to_end=False)]
        events += self._look_at_members()
        events += self._ports.fences()
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.now_ms()
        actions = step(self._state, events, now_ms=now_ms, wall_ms=wall_ms)
        for action in actions:
            self._do(action)
        return actions

    def _look_at_members(self) -> list[Event]:
        now_ms = self._clock.monotonic_ms()
        if self._members_ms is not None and now_ms - self._members_ms < MEMBERS_MS:
            return []
        sessions = self._ports.members()
        # A list without this process is of another time, or this is no controller any more.
        if sessions is None or self._self not in sessions:
            return []
        self._members_ms = now_ms
        left = self._sessions - sessions
        self._sessions = sessions
        # Whoever leaves says so before it goes: heard in time, it need not be fenced.
        last_words = self._ports.statuses(to_end=True) if left else ()
        return [*(Status(each) for each in last_words), Members(sessions)]

    def _do(self, action: Action) -> None:
        match action:
            case Fence():
                self._ports.fence(action)
            case Write(records):
                self._ports.write(records)
            case Forget(workers):
                self._ports.forget(workers)
