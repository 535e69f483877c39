"""One controller's term: it claims the assignments, reads what is there, then plans and acts.

Everything outside is behind `Ports`, so that the simulation drives this very code. Any error ends
the term; the next one begins again from the log, and that is all the recovery there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from streamer.clock import Clock
from streamer.cluster.core import step, tell
from streamer.cluster.events import (
    Action,
    Event,
    Fence,
    Fenced,
    FenceFailed,
    Forget,
    Members,
    Requested,
    Resign,
    Status,
    Tell,
    Write,
)
from streamer.cluster.state import State, load
from streamer.cluster.work import Work
from streamer.control.identity import client_id, session_of
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.requests import Answer, Request
from streamer.errors import InvariantError

__all__ = ["MEMBERS_MS", "Ports", "Term"]

# A death shows in the members group when its session ends, which takes seconds. Joins and leaves
# are heard of at once, through the status topic.
MEMBERS_MS = 500
# A list of the members has 150 bytes for each: of 1,000 it is asked for each 5 s. Whoever goes
# causes a rebalance besides, and at its end this process asks at once.
_MEMBERS_MS_EACH = 5
# A process says its first word a moment before it is listed.
JOINING_MS = 100
JOINING_MS_MAX = 3_000


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

    def requests(self) -> Sequence[Request | Answer]:
        """What operators asked for and controllers answered: at first all that stands in the topic,
        later what has come, without waiting."""

    def tell(self, answer: Answer) -> None:
        """Publish it. Raises FencedError for a deposed controller."""


class Term:
    """From the election of this process to its end as a controller."""

    def __init__(
        self,
        ports: Ports,
        *,
        worker: str,
        session: str,
        work: Work,
        clock: Clock,
    ) -> None:
        self._ports = ports
        self._self = (worker, session)
        self._work = work
        self._clock = clock
        self._state: State | None = None
        self.sessions: frozenset[tuple[str, str]] = frozenset()
        self._members_ms: int | None = None
        self._joining: dict[tuple[str, str], int] = {}
        self._asked: list[Request] = []

    @property
    def state(self) -> State | None:
        """None before `open` is through."""
        return self._state

    def open(self) -> None:
        """First nobody else can write, then everything is read: nothing can come in between."""
        self._ports.claim()
        assignments, statuses = self._ports.load()
        name = client_id(*self._self)
        standing = self._ports.requests()
        self._asked = [one for one in standing if isinstance(one, Request)]
        self._state = load(
            name,
            self._work,
            assignments=assignments,
            statuses=statuses,
            answers=[one for one in standing if isinstance(one, Answer)],
            now_ms=self._clock.monotonic_ms(),
            wall_ms=self._clock.now_ms(),
        )

    def stir(self) -> None:
        """The group changed: ask for its members in the next turn."""
        self._members_ms = None

    def turn(self) -> list[Action]:
        """One look at the world and what follows from it; returns what was done.

        Raises TopologyChangedError where living workers of another topology have the tasks.
        """
        if self._state is None:
            raise InvariantError("a term takes its turns only after it was opened")
        statuses = self._ports.statuses(to_end=False)
        self._expect(statuses)
        events: list[Event] = [Status(each) for each in statuses]
        events += self._look_at_members()
        events += self._ports.fences()
        events += [
            Requested(one)
            for one in (*self._asked, *self._ports.requests())
            if isinstance(one, Request)
        ]
        self._asked = []
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.now_ms()
        actions = step(self._state, events, now_ms=now_ms, wall_ms=wall_ms)
        actions += tell(self._state, now_ms=now_ms, wall_ms=wall_ms)
        for action in actions:
            self._do(action)
        return actions

    def _expect(self, statuses: Iterable[StatusRecord]) -> None:
        """Look for processes that have spoken and are not listed yet."""
        now_ms = self._clock.monotonic_ms()
        for each in statuses:
            process = (each.worker, session_of(each.incarnation))
            if not each.left and process not in self.sessions:
                self._joining.setdefault(process, now_ms)

    def _look_at_members(self) -> list[Event]:
        now_ms = self._clock.monotonic_ms()
        is_joining = any(now_ms - since < JOINING_MS_MAX for since in self._joining.values())
        usual_ms = max(MEMBERS_MS, min(len(self.sessions), 1_000) * _MEMBERS_MS_EACH)
        pace_ms = JOINING_MS if is_joining else usual_ms
        if self._members_ms is not None and now_ms - self._members_ms < pace_ms:
            return []
        # Before the question: a change while it is under way is one more reason to ask.
        before, self._members_ms = self._members_ms, now_ms
        sessions = self._ports.members()
        # A list without this process is of another time, or this is no controller any more.
        if sessions is None or self._self not in sessions:
            self._members_ms = before
            return []
        for process in self._joining.keys() & sessions:
            del self._joining[process]
        left = self.sessions - sessions
        self.sessions = sessions
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
            case Tell(record):
                self._ports.tell(record)
            case Resign(topology):
                raise self._work.shape.refusal(topology)
