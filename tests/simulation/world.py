"""A whole cluster on a clock that the dice move: workers, controllers, Kafka, and trouble.

Every step is one small thing that one party does. A controller's calls to Kafka let others act in
between. After each step no task may have two owners that could both commit; after the trouble ends,
every task must find one running owner, evenly, and stay there.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from streamer.clock import ManualClock
from streamer.cluster.events import Fenced, FenceFailed
from streamer.cluster.term import Term
from streamer.cluster.work import Work
from streamer.control.requests import (
    DrainRecord,
    RebalanceRecord,
)
from streamer.errors import (
    FencedError,
    KafkaUnavailableError,
    LayoutChangedError,
    TopologyChangedError,
)
from streamer.topology.shape import Shape
from tests.simulation.asking import request
from tests.simulation.cuts import Cuts
from tests.simulation.kafka import SESSION_MS, Kafka
from tests.simulation.link import Link, end_some_pause
from tests.simulation.owning import check_leases, single_owners
from tests.simulation.process import Process, work_of
from tests.simulation.rest import is_at_rest

QUIET_STEPS_MAX = 20_000
# Nothing is drained any more, and what was stopped half-way is placed anew.
CALM = (RebalanceRecord(number="", id="none"), DrainRecord(workers=("nobody",)))
# Two releases of an application: the later one has another order of subtopologies, and one more.
RELEASES = (
    (Shape(("reads a", "reads b")), 2),
    (Shape(("reads b", "reads c", "reads a")), 3),
)


class World:
    """`mixed` starts workers of two releases, as nobody should."""

    def __init__(self, seed: int, *, mixed: bool = False) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        # Apart from the other dice, which fall the same without them.
        self.release = random.Random(f"release {seed}") if mixed else None
        self.asks = random.Random(f"asks {seed}")
        self.cuts = Cuts(seed)
        self.clocks = random.Random(f"clocks {seed}")
        # No lease is sure where clocks are wrong (decision 29).
        self.is_skewed = random.Random(f"skew {seed}").random() < 0.5
        self.clock = ManualClock()
        self.kafka = Kafka(self.chance)
        self.processes: list[Process] = []
        self.terms: dict[Process, Term] = {}
        self.waiting: list[Process] = []
        self.steps = 0
        self.sessions = 0
        self.refusals = 0
        self.doubled: set[str] = set()
        """Workers whose id two processes had at once, as no lease can know."""
        self.is_quiet = False
        self.standbys = self.chance.choice((0, 1, 1, 2))
        self.zones = self.chance.choice((0, 0, 2, 3))
        self.pace_ms = self.chance.choice((5, 20, 60))
        self.unrest = self.chance.choice((0.002, 0.01, 0.03))
        for number in range(self.chance.randint(1, 4)):
            self._start(f"w{number}")

    def live(self, steps: int) -> None:
        """Trouble for so many steps, then quiet until all is well. Raises AssertionError."""
        for _ in range(steps):
            self.step()
        self._calm()
        deadline = self.steps + QUIET_STEPS_MAX
        while not self._is_well():
            for _ in range(50):
                self.step()
            assert self.steps < deadline, f"no rest after the trouble: {self.describe()}"
        before = [(each, dict(each.owned), set(each.copies)) for each in self.processes]
        for _ in range(2_000):
            self.step()
        after = [(each, dict(each.owned), set(each.copies)) for each in self.processes]
        assert before == after, "tasks move though nothing happens"

    def settle(self, workers: int) -> None:
        """So many workers in all, and no trouble from here on, until all is well."""
        self.is_quiet = True
        for number in range(len(self.processes), workers):
            self._start(f"w{number}")
        self.until(self._is_well)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Go on until something is so. Raises AssertionError where it does not become so."""
        deadline = self.steps + QUIET_STEPS_MAX
        while not is_so():
            self.step()
            assert self.steps < deadline, f"it does not come to that: {self.describe()}"

    def lose_controller(self) -> None:
        """It goes without a word, and somebody is elected: another one, or the same anew."""
        self.terms.clear()
        self.kafka.candidates.pop(self.kafka.owner or ("", ""), None)
        self.kafka.elect()

    def step(self) -> None:
        self._pass_time()
        if not self.is_quiet and self.chance.random() < self.unrest:
            self._trouble()
        if not self.is_quiet and self.asks.random() < self.unrest / 8:
            self.kafka.operations.append(
                request(self.asks, self.kafka.operations, number=str(self.steps))
            )
        if not self.is_quiet:
            self.cuts.fall(self.processes, self.unrest / 2)
        self._act(self.chance.choice(self.processes))
        self._check()

    def meanwhile(self, besides: Process) -> None:
        """What others do while one waits for Kafka, another controller among them."""
        if self.chance.random() < 0.7 or len(self.waiting) == 2:
            return
        self.waiting.append(besides)
        for _ in range(self.chance.randint(1, 6)):
            self._pass_time()
            other = self.chance.choice(self.processes)
            if other not in self.waiting:
                self._act(other)
                self._check()
        self.waiting.remove(besides)

    def describe(self) -> str:
        lines = [f"{self.kafka.now_ms} ms, owner {self.kafka.owner}"]
        for each in self.processes:
            signs = [name for name in ("is_alive", "is_paused", "is_fenced") if getattr(each, name)]
            owned = ",".join(f"{task}:{state}" for task, state in sorted(each.owned.items()))
            seat = each.seat
            lines.append(f"{each.worker} {seat.incarnation} {signs} owns {owned} of {seat.desired}")
        for key, record in dict(self.kafka.assignments).items():
            lines.append(f"assignment {key}: {record}")
        return "\n".join(lines)

    # what happens

    def _pass_time(self) -> None:
        self.steps += 1
        passed = int(self.chance.expovariate(1 / self.pace_ms))
        self.kafka.now_ms += passed
        self.clock.advance(passed)
        if self.is_quiet:  # the dice could keep a healthy process silent for a whole session
            for process in self._alive():
                process.beat()
                process.say()

    def _act(self, process: Process) -> None:
        dice = self.chance.random()
        if dice < 0.1:
            self.kafka.end_sessions()
            self.kafka.elect()
        elif dice < 0.25:
            self._fence_somebody()
            end_some_pause(self.kafka, self.chance)
        elif process.is_running:
            if dice < 0.55 and (process.is_controller or process in self.terms):
                self._control(process)
            else:
                process.act()
        elif not process.is_alive and process.sending:
            process.flush()

    def _control(self, process: Process) -> None:
        term = self.terms.get(process)
        try:
            if not process.is_controller or process.seat.failure is not None:
                self.terms.pop(process, None)
            elif term is None:
                link = Link(self, process)
                term = Term(
                    link,
                    me=process.key,
                    work=process.work,
                    suspicion_ms=SESSION_MS,
                    clock=self.clock,
                )
                term.open()
                self.terms[process] = term
            else:
                term.turn()
        except (FencedError, KafkaUnavailableError):
            self.terms.pop(process, None)
        except LayoutChangedError:
            self.terms.pop(process, None)
            process.is_leaving = True
        except TopologyChangedError as error:
            self.terms.pop(process, None)
            process.seat.failure = error
            self.refusals += 1

    def _fence_somebody(self) -> None:
        if not self.kafka.fences:
            return
        place = self.chance.randrange(len(self.kafka.fences))
        fence, link = self.kafka.fences.pop(place)
        assert isinstance(link, Link)
        if self.chance.random() < 0.1:
            link.outcomes.append(FenceFailed(fence.worker))
            return
        self.kafka.initialise(fence.worker)
        link.outcomes.append(Fenced(fence.worker, fence.incarnations))

    def _trouble(self) -> None:
        process = self.chance.choice(self.processes)
        if self.terms and self.chance.random() < 0.3:
            process = self.chance.choice(list(self.terms))
        kinds = ("kill", "kill", "pause", "resume", "resume", "leave", "start", "start", "double")
        match self.chance.choice(kinds):
            case "kill" if process.is_alive:
                process.kill()
                self.terms.pop(process, None)
            case "pause":
                process.is_paused = True
            case "resume":
                process.is_paused = False
            case "leave":
                process.is_leaving = True
            case "start" if len(self._alive()) < 5:
                free = {f"w{number}" for number in range(5)} - {p.worker for p in self._alive()}
                self._start(self.chance.choice(sorted(free)))
            case "double" if len(self._alive()) < 5 and self.chance.random() < 0.3:
                self.doubled.add(process.worker)
                self._start(process.worker)

    def _calm(self) -> None:
        self.is_quiet = True
        self.kafka.operations += CALM
        for process in self.processes:
            process.is_paused = False
            process.mute_until_ms = process.deaf_until_ms = process.idle_until_ms = 0
        if not self._alive():
            self._start("w0")

    def _start(self, worker: str, *, follows: str = "") -> None:
        """`follows` is the session of a process that begins anew, and is not started again."""
        self.sessions += 1
        # The order of the names must say nothing about the order of the starts.
        session = f"{self.chance.randrange(1 << 20):05x}-{self.sessions}"
        work = self._work()
        zone = f"az={int(worker[1:]) % self.zones}" if self.zones else ""
        skew_ms = self.clocks.choice((0, 0, 100, -2_000, 60_000)) if self.is_skewed else 0
        made = Process(
            worker,
            session,
            self.kafka,
            self.chance,
            clock=self.clock,
            work=work,
            zone=zone,
            skew_ms=skew_ms,
            follows=follows,
            answers=random.Random(f"answers {session}"),
        )
        self.processes.append(made)
        if len(self.processes) > 40:
            self.processes = [p for p in self.processes if p.is_alive or p.sending or p.owned]

    def _work(self) -> Work:
        """What a process that starts now believes that there is to do."""
        release = self.release.choice(RELEASES) if self.release else RELEASES[0]
        return work_of(self.standbys, *release)

    # what must hold

    def _alive(self) -> list[Process]:
        return [one for one in self.processes if one.is_alive]

    def _check(self) -> None:
        owners = single_owners(self.processes, self.describe)
        if not self.is_skewed:
            check_leases(self.processes, owners, doubled=self.doubled)

    def _is_well(self) -> bool:
        alive = self._alive()
        if not alive:
            self._start("w0")  # the last ones were refused or left
            return False
        terms = [term for process, term in self.terms.items() if process.is_controller]
        return bool(terms) and is_at_rest(alive, terms[0], standbys=self.standbys)
