"""One controller's term: it claims the assignments, reads what is there, then plans and acts.

Everything outside is behind `Ports`, so that the simulation drives this very code. Any error ends
the term; the next one begins again from the log, and that is all the recovery there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from streamer.clock import Clock
from streamer.cluster.core import step, tell
from streamer.cluster.events import (
    Action,
    EndPause,
    Event,
    Fence,
    Fenced,
    FenceFailed,
    Forget,
    Members,
    PauseEnded,
    Requested,
    Resign,
    Status,
    Tell,
    Write,
)
from streamer.cluster.roll import Roll
from streamer.cluster.state import State, load
from streamer.cluster.work import Work
from streamer.control.goals import GoalRecord
from streamer.control.identity import Process, client_id
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.requests import Answer, PauseRecord, Request
from streamer.errors import InvariantError, LayoutChangedError

__all__ = ["Ports", "Term"]


class Ports(Protocol):
    """What a term needs from Kafka. Everything may raise; that ends the term."""

    def claim(self) -> None:
        """Become the only one that can write assignments."""

    def load(self) -> tuple[Sequence[AssignmentRecord], Sequence[StatusRecord]]:
        """The last record of each worker in both topics, read to their ends."""

    def statuses(self, *, to_end: bool) -> Sequence[StatusRecord]:
        """What was written since: without waiting long, or all there is at this moment."""

    def alive(self, suspects: Set[Process]) -> frozenset[Process] | None:
        """Those of them whose sessions Kafka keeps; None when nobody could tell."""

    def fence(self, fence: Fence) -> None:
        """Begin to fence; the outcome comes through `fences`."""

    def fences(self) -> Sequence[Fenced | FenceFailed]: ...

    def layout(self) -> int:
        """The number of the layout that is recorded at this moment."""

    def end_pause(self, asked: EndPause) -> None:
        """Begin; the outcome comes through `pauses_ended`."""

    def pauses_ended(self) -> Sequence[PauseEnded]: ...

    def write(self, written: Write) -> None:
        """All in one transaction. Raises FencedError for a deposed controller."""

    def forget(self, workers: Sequence[str]) -> None: ...

    def goal(self) -> Mapping[int, GoalRecord] | None:
        """The pieces that stood in the topic when it was loaded; None where one cannot be read."""

    def requests(self) -> Sequence[Request | Answer]:
        """What operators asked for and controllers answered: at first all that stands in the topic,
        later what has come, without waiting."""

    def tell(self, answer: Answer) -> None:
        """Publish it. Raises FencedError for a deposed controller."""


class Term:
    """From the election of this process to its end as a controller."""

    def __init__(
        self, ports: Ports, *, me: Process, work: Work, suspicion_ms: int, clock: Clock
    ) -> None:
        self._ports = ports
        self._me = me
        self._work = work
        self._clock = clock
        self._state: State | None = None
        self._roll = Roll(suspicion_ms=suspicion_ms)
        self.sessions: frozenset[Process] | None = None
        self._asked: list[Request] = []

    @property
    def state(self) -> State | None:
        """None before `open` is through."""
        return self._state

    def open(self) -> None:
        """First nobody else can write, then everything is read: nothing can come in between."""
        self._ports.claim()
        assignments, statuses = self._ports.load()
        goal = self._ports.goal()
        standing = self._ports.requests()
        # What those before wrote may be of a later layout, or end a pause that led to one.
        if (recorded := self._ports.layout()) > self._work.layout:
            raise LayoutChangedError(
                f"layout {recorded} was recorded; this worker runs layout {self._work.layout}",
                hint="nothing is to be done: it closes its tasks and begins anew with that layout",
            )
        self._asked = [one for one in standing if isinstance(one, Request)]
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.now_ms()
        self._roll.load(statuses, now_ms=now_ms, wall_ms=wall_ms)
        self._state = load(
            client_id(*self._me),
            self._work,
            assignments=assignments,
            statuses=statuses,
            answers=[one for one in standing if isinstance(one, Answer)],
            goal=goal,
            now_ms=now_ms,
            wall_ms=wall_ms,
        )
        for one in self._asked:
            if isinstance(one, PauseRecord):
                self._state.pause.settle(one)

    def turn(self) -> list[Action]:
        """One look at the world and what follows from it; returns what was done.

        Raises TopologyChangedError where living workers of another topology have the tasks.
        """
        if self._state is None:
            raise InvariantError("a term takes its turns only after it was opened")
        events = self._listen()
        events += self._ports.fences()
        events += self._ports.pauses_ended()
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

    def _listen(self) -> list[Event]:
        """Hear what was said, and find out whether those live who are silent."""
        statuses = [*self._ports.statuses(to_end=False)]
        self._roll.hear(statuses, now_ms=self._clock.monotonic_ms())
        is_known = True
        if suspects := self._roll.suspects(self._clock.monotonic_ms()):
            found = self._find_out(suspects)
            is_known = found is not None
            statuses += found or ()
        events: list[Event] = [Status(each) for each in statuses]
        # The log remembers the dead for days: a new controller first makes sure who they are.
        if self.sessions != self._roll.sessions and (is_known or self.sessions is not None):
            self.sessions = self._roll.sessions
            events.append(Members(self.sessions))
        return events

    def _find_out(self, suspects: frozenset[Process]) -> Sequence[StatusRecord] | None:
        """Strike those that have died, or return None where nobody could tell. Returns what was
        heard besides: whoever leaves says so before its session ends, and heard in time it need
        not be fenced."""
        alive = self._ports.alive(suspects)
        if alive is None:
            return None
        dead = (suspects & self._roll.sessions) - alive
        last_words = self._ports.statuses(to_end=True) if dead else ()
        now_ms = self._clock.monotonic_ms()
        self._roll.hear(last_words, now_ms=now_ms)
        self._roll.judge(suspects, alive, now_ms=now_ms)
        return last_words

    def _do(self, action: Action) -> None:
        match action:
            case Fence():
                self._ports.fence(action)
            case EndPause():
                self._ports.end_pause(action)
            case Write():
                self._ports.write(action)
            case Forget(workers):
                self._ports.forget(workers)
            case Tell(record):
                self._ports.tell(record)
            case Resign(topology):
                raise self._work.shape.refusal(topology)
