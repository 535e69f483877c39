"""One worker process of the simulation: the real seat, and a loop that opens and closes tasks.

Its producer is made before it speaks for the first time and again before each new incarnation,
as the agreement demands. A killed process counts as an owner until it is fenced: what it had sent
may still be on its way.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from streamer.clock import Clock, ManualClock
from streamer.cluster.kept import KeptPause
from streamer.cluster.lease import Lease, bound_ms
from streamer.cluster.plan import Policy
from streamer.cluster.proof import Proof
from streamer.cluster.seat import Desired, Seat
from streamer.cluster.steps import Limits
from streamer.cluster.work import Work
from streamer.control.identity import Incarnation
from streamer.control.messages import StandbyReport, StatusRecord, TaskReport
from streamer.errors import KafkaUnavailableError
from streamer.ids import TaskId
from streamer.topology.shape import Shape
from tests.simulation.kafka import SESSION_MS, Kafka
from tests.simulation.pausing import check_layout, follow_pause

STATUS_INTERVAL_MS = 4_000
CANDIDATES = 2
WARM_LAG_MAX = 3


@dataclass(eq=False)
class Process:
    worker: str
    session: str
    kafka: Kafka
    chance: random.Random
    is_alive: bool = True
    is_paused: bool = False
    is_leaving: bool = False
    is_candidate: bool = False
    is_controller: bool = False
    position: int = 0
    epoch: int = 0
    owned: dict[TaskId, str] = field(default_factory=dict)
    copies: dict[TaskId, int] = field(default_factory=dict)
    """How far each copy is behind; -1 before it knows."""
    sending: deque[tuple[int, StatusRecord]] = field(default_factory=deque)
    """With the time at which each was sent."""
    last_words: bool = False
    clock: Clock = field(default_factory=ManualClock)
    work: Work = field(default_factory=lambda: Work(frozenset()))
    zone: str = ""
    skew_ms: int = 0
    """How far its clock is from that of the others."""
    kept: KeptPause = field(default_factory=KeptPause)
    is_ending: bool = False
    """It has taken the right to record layouts away, and has yet to look which one is."""
    answers: random.Random = field(default_factory=lambda: random.Random(0))
    """When its questions reach the brokers, and their answers it."""
    mute_until_ms: int = 0
    deaf_until_ms: int = 0
    idle_until_ms: int = 0
    """Until when, by `clock`, it does not reach the brokers of its own words, and the one of what
    is said to it; and until when no input comes, so that no commit tells it that it was fenced."""
    follows: str = ""
    """The session that its process had before."""

    def __post_init__(self) -> None:
        self.lease = Lease(bound_ms(SESSION_MS), self.clock)
        self.proof = Proof(self.lease, self._answer, apart=self._ask)
        self.asking: deque[Callable[[], None]] = deque()
        self.end: int | None = None
        """What the broker answered, on its way."""
        self.epoch = self.kafka.initialise(self.worker)
        self.seat = Seat(
            self.worker,
            Incarnation(self.session),
            shape=self.work.shape,
            zone=self.zone,
            host=self.worker,
            warm_lag_max=WARM_LAG_MAX,
            follows=self.follows,
        )

    @property
    def shape(self) -> Shape:
        return self.work.shape

    @property
    def key(self) -> tuple[str, str]:
        return (self.worker, self.session)

    @property
    def is_running(self) -> bool:
        return self.is_alive and not self.is_paused

    @property
    def is_mute(self) -> bool:
        return self.clock.monotonic_ms() < self.mute_until_ms

    @property
    def is_deaf(self) -> bool:
        return self.clock.monotonic_ms() < self.deaf_until_ms

    @property
    def is_fenced(self) -> bool:
        return not self.kafka.is_valid(self.worker, self.epoch)

    def act(self) -> None:
        """One thing that one of its threads does."""
        self.chance.choice(
            (self.beat, self._watch, self._read, self._turn, self._turn, self._speak, self._deliver)
        )()
        if self.asking:
            self._await_answer()

    def kill(self) -> None:
        """Of what it was sending, a part may still arrive."""
        self.is_alive = False
        kept = self.chance.randint(0, len(self.sending))
        self.sending = deque(list(self.sending)[:kept])

    def flush(self) -> None:
        while self.sending and not self.is_mute:
            self._deliver()

    def beat(self) -> None:
        if self.is_mute:
            return
        if not self.last_words:
            self.kafka.beat(self.key)
        if self.is_candidate:
            self.kafka.stand(self.key)
            self.is_controller = self.kafka.owner == self.key

    def _watch(self) -> None:
        """Stand for election while too few do; leave that group once too many do."""
        standing = self.kafka.candidates
        if self.last_words:
            return
        if not self.is_candidate and len(standing) < CANDIDATES:
            self.is_candidate = True
            self.beat()
        elif self.is_candidate and len(standing) > CANDIDATES and not self.is_controller:
            self.is_candidate = False
            standing.pop(self.key, None)

    def say(self) -> None:
        """Write what there is to say, and wait until it is written."""
        self._speak()
        self.flush()

    def _read(self) -> None:
        log = self.kafka.assignments
        upto = self.position if self.is_deaf else self.chance.randint(self.position, len(log))
        for key, record in log[self.position : upto]:
            if key == self.worker and record is not None:
                self.seat.hear(record)
                if self.seat.is_fenced or self.seat.failure:
                    self.lease.end()
        self.position = upto
        self.proof.look(upto)

    def _ask(self, question: Callable[[], None]) -> None:
        self.asking.append(question)
        self.end = None

    def _await_answer(self) -> None:
        """What was true when the broker answered may be long past when the answer comes."""
        if self.answers.random() < 0.5:
            return
        if self.end is None and not self.is_deaf:
            self.end = len(self.kafka.assignments)
        elif self.end is not None or self.answers.random() < 0.1:
            self.asking.popleft()()

    def _answer(self) -> int:
        if self.end is None:
            raise KafkaUnavailableError("the broker of the assignments does not answer")
        return self.end

    def _turn(self) -> None:
        seat = self.seat
        if seat.failure is not None:
            self._exit()
        elif seat.is_fenced:
            self.start_again()
        elif self.is_leaving:
            self._leave()
        elif seat.desired is not None:
            self._follow(seat.desired)

    def _follow(self, desired: Desired) -> None:
        tasks = desired.tasks
        for task in self.owned.keys() - tasks:
            self.owned[task] = "closing"
        if self._close_some() is False:
            return
        if not follow_pause(self, desired):
            return
        for task in self.copies.keys() - (desired.standbys - self.owned.keys()):
            del self.copies[task]
        for task in desired.standbys - self.owned.keys():
            self.copies[task] = behind(self.copies.get(task), self.chance)
        for task in tasks:
            self.owned.setdefault(task, "restoring")
        for task in sorted(tasks):
            if self.owned.get(task) == "restoring" and self.chance.random() < 0.5:
                self.owned[task] = "running"
        check_layout(self)
        self._report(desired.version)

    def _close_some(self) -> bool:
        """A task is closed by a commit; a refused commit means that everything is lost."""
        closing = sorted(task for task, state in self.owned.items() if state == "closing")
        is_idle = self.clock.monotonic_ms() < self.idle_until_ms
        commits = closing or (self.chance.random() < 0.3 and not is_idle)
        if commits and self.is_fenced:
            self.start_again()
            return False
        for task in closing:
            if self.chance.random() < 0.6:
                del self.owned[task]
        return True

    def _report(self, version: int) -> None:
        rates = self.kafka.rates
        reports = {
            task: TaskReport(state=state, rate=rates.get(task, 0))  # type: ignore[arg-type]
            for task, state in self.owned.items()
        }
        copies = {task: StandbyReport(lag_records=lag) for task, lag in self.copies.items()}
        self.seat.report(version, reports, copies, pause=(self.kept.number, self.kept.resumed))

    def start_again(self) -> None:
        self.owned.clear()
        self.epoch = self.kafka.initialise(self.worker)
        self.seat.rejoin()
        self.kept.begin()
        self.is_ending = False
        self.lease.begin()

    def _leave(self) -> None:
        if self.owned:
            self.owned = dict.fromkeys(self.owned, "closing")
            self.copies.clear()
            if self._close_some():
                self._report(self.seat.desired.version if self.seat.desired else 0)
        elif not self.last_words:
            self.seat.leave()
            self._speak()
            self.last_words = True
        else:
            self.flush()
            self._gone()

    def _exit(self) -> None:
        """It gives up without a word; what it had sent may still be on its way."""
        self._gone()

    def _gone(self) -> None:
        self.kafka.leave(self.key)
        self.is_alive = self.is_candidate = self.is_controller = False

    def _speak(self) -> None:
        record = self.seat.status(
            self.kafka.now_ms,
            interval_ms=STATUS_INTERVAL_MS,
            wall_ms=max(self.kafka.now_ms + self.skew_ms, 0),
        )
        if record is not None:
            self.sending.append((self.clock.monotonic_ms(), record))

    def _deliver(self) -> None:
        if self.sending and not self.is_mute:
            sent_ms, record = self.sending.popleft()
            self.kafka.statuses.append(record)
            if self.chance.random() < 0.02:
                self.kafka.statuses.append(record)
            if record.incarnation == str(self.seat.incarnation):
                self.lease.renew(sent_ms)


def behind(lag: int | None, dice: random.Random) -> int:
    """How far a copy is behind: it starts from nothing or from where it was; now and then it falls
    back."""
    fall = dice.random()
    if lag is None or fall < 0.02:
        return dice.choice((-1, 0, 5, 50, 50))
    return max(0, lag // 3) if fall < 0.5 else lag


def work_of(standbys: int, shape: Shape, subtopologies: int) -> Work:
    """The first subtopology has no state."""
    tasks = frozenset(TaskId(sub, part) for sub in range(subtopologies) for part in range(4))
    policy = Policy(
        standby_replicas=standbys,
        delay_ms=5_000,
        limits=Limits(WARM_LAG_MAX, building_max=6, building_per_worker_max=2),
    )
    return Work(tasks, frozenset(task for task in tasks if task[0] == 0), shape, policy)
