"""A controller's way to the Kafka of the simulation."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

from streamer.assignment.facts import Copies
from streamer.cluster.events import EndPause, Fence, Fenced, FenceFailed, PauseEnded, Write
from streamer.cluster.goal import Goal, is_same, standing
from streamer.cluster.view import WorkerView
from streamer.control.goals import GoalRecord
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.requests import Answer, Request
from streamer.errors import FencedError, KafkaUnavailableError
from tests.simulation.asking import check_held
from tests.simulation.kafka import RECORDER, Kafka
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["CONTROLLER", "Link", "end_some_pause"]

CONTROLLER = "the controller"


class Link:
    """The ports of one term: each call lets the rest of the world move first."""

    def __init__(self, world: World, process: Process) -> None:
        self.world = world
        self.process = process
        self.kafka = world.kafka
        self.epoch = 0
        self.position = self.asked = 0
        self.outcomes: deque[Fenced | FenceFailed] = deque()
        self.ended: deque[PauseEnded] = deque()

    def claim(self) -> None:
        self.epoch = self.kafka.initialise(CONTROLLER)
        self.world.meanwhile(self.process)

    def load(self) -> tuple[Sequence[AssignmentRecord], Sequence[StatusRecord]]:
        assignments = self.kafka.last_assignments()
        for _ in range(3):
            self.world.meanwhile(self.process)
        self.position = len(self.kafka.statuses)
        return assignments, self.kafka.last_statuses()

    def statuses(self, *, to_end: bool) -> Sequence[StatusRecord]:
        self.world.meanwhile(self.process)
        end = len(self.kafka.statuses)
        upto = end if to_end else self.world.chance.randint(self.position, end)
        read = self.kafka.statuses[self.position : upto]
        self.position = upto
        return read

    def alive(self, suspects: Set[tuple[str, str]]) -> frozenset[tuple[str, str]] | None:
        self.world.meanwhile(self.process)
        workers = {worker for worker, _ in suspects}
        kept = frozenset(each for each in self.kafka.kept() if each[0] in workers)
        return None if self.world.chance.random() < 0.02 else kept

    def fence(self, fence: Fence) -> None:
        self.kafka.fences.append((fence, self))

    def fences(self) -> Sequence[Fenced | FenceFailed]:
        outcomes = list(self.outcomes)
        self.outcomes.clear()
        return outcomes

    def layout(self) -> int:
        return self.kafka.layout

    def end_pause(self, asked: EndPause) -> None:
        self.kafka.endings.append((asked, self))

    def pauses_ended(self) -> Sequence[PauseEnded]:
        outcomes = list(self.ended)
        self.ended.clear()
        return outcomes

    def goal(self) -> Mapping[int, GoalRecord]:
        pieces = self.kafka.goals[self.process.work.layout]
        return {piece: each for piece, each in pieces.items() if each.copies}

    def write(self, written: Write) -> None:
        self.world.meanwhile(self.process)
        chance = self.world.chance.random()
        if not self.kafka.is_valid(CONTROLLER, self.epoch):
            raise FencedError("a later controller has taken over")
        if chance > 0.005:
            term = self.world.terms.get(self.process)
            if term is not None and term.state is not None and self.world.release is None:
                before = dict(self.kafka.assignments)
                check_held(term.state, written, before, self.world.describe)
            self.kafka.assignments.extend((each.worker, each) for each in written.records)
            self.kafka.goals[self.process.work.layout] |= written.goal
            self.kafka.operations += [written.plan] if written.plan else []
            self._check_goal()
        is_lost = self.kafka.answers_lost > 0
        self.kafka.answers_lost -= is_lost
        if chance < 0.01 or is_lost:
            raise KafkaUnavailableError("no answer to the commit: it may be done or not")

    def _check_goal(self) -> None:
        """Whoever is the controller next knows the target from what is written now."""
        term = self.world.terms.get(self.process)
        if term is None or term.state is None or self.world.release is not None:
            return
        views: dict[str, WorkerView] = {}
        for record in self.kafka.last_assignments():
            views.setdefault(record.worker, WorkerView()).take(record)
        pieces = Goal()
        pieces.take(self.goal(), term.state.shape.digest)
        found = standing(views, term.state.shape.digest) | pieces.copies
        for task, copies in term.state.plan.target.items():
            assert is_same(found.get(task, Copies(None)), copies), (
                f"{task} shall go to {copies}, and the next controller would take it to"
                f" {found.get(task)}: {self.world.describe()}"
            )

    def requests(self) -> Sequence[Request | Answer]:
        log = self.kafka.operations
        came, self.asked = log[self.asked :], len(log)
        return list({type(each): each for each in came}.values())

    def tell(self, answer: Answer) -> None:
        if not self.kafka.is_valid(CONTROLLER, self.epoch):
            raise FencedError("a later controller has taken over")
        self.kafka.operations.append(answer)

    def forget(self, workers: Sequence[str]) -> None:
        raise AssertionError("a life is too short to be forgotten")


def end_some_pause(kafka: Kafka, dice: random.Random) -> None:
    """One of those that controllers have asked for, in two parts: others act in between."""
    if not kafka.endings:
        return
    asked, link = kafka.endings.pop(dice.randrange(len(kafka.endings)))
    assert isinstance(link, Link)
    if asked.fences:
        kafka.initialise(RECORDER)
        kafka.endings.append((EndPause(asked.number, fences=False), link))
        return
    link.ended.append(PauseEnded(asked.number, kafka.layout))
