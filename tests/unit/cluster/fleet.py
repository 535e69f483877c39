"""A controller, and workers that do as they are told."""

from __future__ import annotations

from streamer.cluster.attendance import SETTLE_MS
from streamer.cluster.core import step, tell
from streamer.cluster.events import Action, Event, Fence, Fenced, Members, Requested, Status, Write
from streamer.cluster.plan import Policy
from streamer.cluster.state import load
from streamer.cluster.steps import Limits
from streamer.cluster.work import Work
from streamer.control.goals import GoalRecord
from streamer.control.messages import AssignmentRecord, StandbyReport, StatusRecord, TaskReport
from streamer.control.requests import Answer, PlanRecord, ProposalRecord, Request
from streamer.ids import TaskId

__all__ = ["DELAY_MS", "TASKS", "Fleet"]

TASKS = frozenset(TaskId(0, number) for number in range(4))
DELAY_MS = 60_000


class Fleet:
    """`lag` is what copies have to read, but for those of workers in `lags`; whoever is in `slow`
    keeps all that it was ever given."""

    def __init__(self, *workers: str, standbys: int = 0, lag: int = 0) -> None:
        policy = Policy(standby_replicas=standbys, delay_ms=DELAY_MS, limits=Limits(10))
        self.work = Work(TASKS, policy=policy)
        self.state = load("boss", self.work, assignments=(), statuses=())
        self.log: dict[str, AssignmentRecord] = {}
        self.words: dict[str, StatusRecord] = {}
        self.goal: dict[int, GoalRecord] = {}
        self.answers: dict[type[Answer], Answer] = {}
        self.standing: dict[type[Request], Request] = {}
        self.alive = dict.fromkeys(workers, 0)
        self.zones: dict[str, str] = {}
        self.slow: dict[str, tuple[str, ...]] = {}
        self.lag = lag
        self.lags: dict[str, int] = {}
        self.number = self.now_ms = 0
        self.settle()

    def hear(self, *events: Event) -> list[Action]:
        actions = step(self.state, events, now_ms=self.now_ms, wall_ms=self.now_ms)
        for action in actions:
            if isinstance(action, Write):
                self.log |= {each.worker: each for each in action.records}
                self.goal |= action.goal
                self.answers |= {PlanRecord: action.plan} if action.plan else {}
        for told in tell(self.state, now_ms=self.now_ms, wall_ms=self.now_ms):
            self.answers[type(told.record)] = told.record
        return actions

    def ask(self, request: Request) -> list[Action]:
        self.standing[type(request)] = request
        return self.hear(Requested(request))

    @property
    def told(self) -> PlanRecord:
        found = self.answers[PlanRecord]
        assert isinstance(found, PlanRecord)
        return found

    @property
    def proposal(self) -> ProposalRecord:
        found = self.answers[ProposalRecord]
        assert isinstance(found, ProposalRecord)
        return found

    def status(self, worker: str, *, left: bool = False) -> StatusRecord:
        self.number += 1
        incarnation = f"{self.session(worker)}.0"
        told = self.log.get(worker)
        is_mine = told is not None and told.incarnation == incarnation and not left
        tasks = told.tasks if told and is_mine else ()
        copies = told.standbys if told and is_mine else ()
        lag = self.lags.get(worker, self.lag)
        self.words[worker] = StatusRecord(
            format=1,
            number=self.number,
            worker=worker,
            incarnation=incarnation,
            seen=told.version if told and is_mine else 0,
            tasks=dict.fromkeys((*tasks, *self.slow.get(worker, ())), TaskReport(state="running")),
            standbys=dict.fromkeys(copies, StandbyReport(lag_records=lag)),
            left=left,
            zone=self.zones.get(worker, ""),
            host=worker,
        )
        return self.words[worker]

    def turn(self) -> list[Action]:
        """Everybody says what it has."""
        self.now_ms += SETTLE_MS
        statuses = [Status(self.status(worker)) for worker in self.alive]
        members = Members(frozenset((each, self.session(each)) for each in self.alive))
        actions = self.hear(*statuses, members)
        for action in actions:
            if isinstance(action, Fence):
                self.hear(Fenced(action.worker, action.incarnations))
        return actions

    def replace_controller(self) -> None:
        words = self.words | {worker: self.status(worker) for worker in self.alive}
        self.state = load(
            "later",
            self.work,
            assignments=self.log.values(),
            statuses=words.values(),
            answers=self.answers.values(),
            goal={piece: each for piece, each in self.goal.items() if each.copies},
            now_ms=self.now_ms,
            wall_ms=self.now_ms,
        )
        self.hear(*map(Requested, self.standing.values()))

    def settle(self) -> None:
        for _ in range(8):
            self.turn()

    def die(self, worker: str) -> None:
        del self.alive[worker]

    def leave(self, worker: str) -> None:
        self.hear(Status(self.status(worker, left=True)))
        del self.alive[worker]

    def start(self, worker: str) -> None:
        self.alive[worker] = self.number

    def session(self, worker: str) -> str:
        return f"{worker}-{self.alive[worker]}"

    def has(self, worker: str) -> tuple[int, int]:
        """How many tasks and how many copies it is to have."""
        told = self.log[worker]
        return (0, 0) if told.ended else (len(told.tasks), len(told.standbys))

    def owners(self) -> dict[str, str]:
        """Who is to have each task."""
        return {
            task: worker
            for worker, told in sorted(self.log.items())
            if not told.ended
            for task in told.tasks
        }

    def placed(self, worker: str) -> set[str]:
        """All that it has on its disk."""
        return {*self.log[worker].tasks, *self.log[worker].standbys}
