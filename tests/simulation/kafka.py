"""A model of what the cluster uses of Kafka: a group, two topics, transactional ids.

It promises only what Kafka promises: records of one producer arrive in order and late or, after a
crash, never; a commit fails if the transactional id was initialised since; a session ends some time
after its last heartbeat; who asks for the members may get an answer that is a moment old.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from dataclasses import dataclass, field

from streamer.cluster.events import EndPause, Fence
from streamer.control.goals import GoalRecord
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.requests import Answer, Request
from streamer.ids import TaskId

SESSION_MS = 6_000
# The transactional id under which layouts are recorded.
RECORDER = "the layout"
Session = tuple[str, str]


@dataclass
class Kafka:
    chance: random.Random
    now_ms: int = 0
    epochs: dict[str, int] = field(default_factory=dict)
    assignments: list[tuple[str, AssignmentRecord | None]] = field(default_factory=list)
    statuses: list[StatusRecord] = field(default_factory=list)
    operations: list[Request | Answer] = field(default_factory=list)
    goals: dict[int, dict[int, GoalRecord]] = field(default_factory=lambda: defaultdict(dict))
    """The pieces of each layout, which have keys of their own."""
    answers_lost: int = 0
    """So many commits from now on are done, and whoever asked for them is not told."""
    layout: int = 1
    """The one that is recorded."""
    endings: list[tuple[EndPause, object]] = field(default_factory=list)
    rates: dict[TaskId, int] = field(default_factory=dict)
    """Records per second that come for each task."""
    heartbeats: dict[Session, int] = field(default_factory=dict)
    """Of every process in the group of its worker."""
    candidates: dict[Session, int] = field(default_factory=dict)
    """Of those that are in the group in which the controller is elected."""
    owner: Session | None = None
    past_members: deque[tuple[int, frozenset[Session]]] = field(
        default_factory=lambda: deque(maxlen=6)
    )
    fences: list[tuple[Fence, object]] = field(default_factory=list)

    # transactional ids

    def initialise(self, transactional_id: str) -> int:
        self.epochs[transactional_id] = self.epochs.get(transactional_id, 0) + 1
        return self.epochs[transactional_id]

    def is_valid(self, transactional_id: str, epoch: int) -> bool:
        return self.epochs.get(transactional_id) == epoch

    # the groups

    def beat(self, session: Session) -> None:
        self.heartbeats[session] = self.now_ms

    def stand(self, session: Session) -> None:
        self.candidates[session] = self.now_ms

    def leave(self, session: Session) -> None:
        self.heartbeats.pop(session, None)
        self.candidates.pop(session, None)

    def end_sessions(self) -> None:
        late = self.now_ms - SESSION_MS
        for group in (self.heartbeats, self.candidates):
            for session in [each for each, beat in group.items() if beat < late]:
                del group[session]

    def elect(self) -> None:
        """The partition stays with its owner while that one is a member."""
        if self.owner not in self.candidates:
            standing = sorted(self.candidates)
            self.owner = self.chance.choice(standing) if standing else None

    def kept(self) -> frozenset[Session]:
        """The sessions that are kept now, or were up to a quarter of a second ago."""
        now = frozenset(self.heartbeats)
        self.past_members.append((self.now_ms, now))
        if self.chance.random() < 0.1:
            recent = [was for at_ms, was in self.past_members if at_ms > self.now_ms - 250]
            return self.chance.choice(recent)
        return now

    # reading a compacted topic

    def last_assignments(self) -> list[AssignmentRecord]:
        return [each for each in dict(self.assignments).values() if each is not None]

    def last_statuses(self) -> list[StatusRecord]:
        """The last one of each worker."""
        return list({status.worker: status for status in self.statuses}.values())
