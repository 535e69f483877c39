"""A layout is switched to with a goal: where copies of its tasks were kept. Each begins there, and
nowhere else before, in whatever order workers hear of it and come back, and whatever controllers
die. Who does not come back is given up, and what the others have stays with them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest

from streamer.cluster import attendance, state
from streamer.cluster.work import Work
from streamer.control.goals import GoalRecord, piece_of
from streamer.control.requests import PauseRecord, PlanRecord
from streamer.errors import TopologyChangedError
from streamer.ids import Layout, TaskId
from streamer.topology.shape import Shape
from tests.hurry import examples
from tests.simulation.kafka import RECORDER
from tests.simulation.process import WARM_LAG_MAX, Process, work_of
from tests.simulation.world import World

SEEDS = range(examples(12))
WORKERS = 4
NUMBER = "the switch"
Placed = dict[TaskId, tuple[str, frozenset[str]]]


class Beginning(World):
    """At rest under layout 1, and then switched to layout 2. `lost` do not come back from that."""

    def __init__(self, seed: int, *, lost: int = 0) -> None:
        self.dice = random.Random(f"begins {seed}")
        self.goal: Placed = {}
        self.lost: frozenset[str] = frozenset()
        self.back_ms: dict[str, int] = {}
        """When each worker that has left for the next layout starts again."""
        self.warmed: set[tuple[TaskId, str]] = set()
        """Where copies became warm since the layout began."""
        self.losses = self.dice.choice((0, 2, 6))
        super().__init__(seed)
        # A worker reads and speaks within a second, and begins anew long before it is given up.
        self.pace_ms = self.dice.choice((2, 5, 10))
        self.settle(WORKERS)
        names = sorted(one.worker for one in self._alive())
        self.lost = frozenset(self.dice.sample(names, lost))

    def _work(self) -> Work:
        layout = Layout(self.kafka.layout)
        made = work_of(self.standbys, Shape((f"runs as layout {layout}", "b")), 2)
        return replace(made, layout=layout)

    def switch(self) -> None:
        """Pause, and record the layout with the goal in one transaction."""
        self.kafka.initialise(RECORDER)
        self.kafka.operations.append(PauseRecord(number=NUMBER, lease_ms=600_000))
        self.until(self._is_held)
        self.goal = self._dealt()
        pieces: dict[int, dict[str, tuple[str, ...]]] = defaultdict(dict)
        for task, (active, standbys) in self.goal.items():
            pieces[piece_of(task)][str(task)] = (active, *sorted(standbys))
        self.kafka.goals[2] = {each: GoalRecord(copies=one) for each, one in pieces.items()}
        self.kafka.operations.append(PauseRecord(number=NUMBER, is_over=True))
        self.kafka.layout = 2
        for process in [one for one in self._alive() if one.worker in self.lost]:
            process.kill()
            self.terms.pop(process, None)

    def _is_held(self) -> bool:
        told = [one for one in self.kafka.operations if isinstance(one, PlanRecord)]
        return bool(told) and told[-1].pause == (NUMBER, "holds")

    def _dealt(self) -> Placed:
        """Evenly, and each copy at a place of its own."""
        names = sorted(one.worker for one in self._alive())
        tasks = sorted(self._work().tasks)
        self.dice.shuffle(names)
        self.dice.shuffle(tasks)
        stateless = self._work().stateless
        dealt: Placed = {}
        for number, task in enumerate(tasks):
            active = names[number % len(names)]
            places, standbys = {self._place(active)}, set[str]()
            for name in self.dice.sample(names, len(names)):
                is_wanted = len(standbys) < self.standbys and task not in stateless
                if is_wanted and self._place(name) not in places:
                    places.add(self._place(name))
                    standbys.add(name)
            dealt[task] = active, frozenset(standbys)
        return dealt

    def _place(self, worker: str) -> str:
        return f"az={int(worker[1:]) % self.zones}" if self.zones else worker

    def step(self) -> None:
        super().step()
        if self.kafka.layout == 1:
            return
        if self.losses and self.dice.random() < 0.01:
            self.losses -= 1
            self.lose_controller()
        for process in self._alive():
            if process.work.layout == 1 and self._hears(process):
                process.is_leaving = True
        last = {one.worker: one for one in self.processes}
        for worker, process in last.items():
            if worker in self.lost or process.is_alive:
                continue
            # It closes its databases and opens others: some take seconds longer than others.
            due_ms = self.kafka.now_ms + self.dice.randint(0, 4_000)
            if self.kafka.now_ms >= self.back_ms.setdefault(worker, due_ms):
                self._start(worker, follows=process.session)

    def _hears(self, process: Process) -> bool:
        """Whether it reads the record now, or was refused by those who have."""
        is_refused = isinstance(process.seat.failure, TopologyChangedError)
        return is_refused or (process.is_running and self.dice.random() < 0.05)

    def _check(self) -> None:
        super()._check()
        for process in self._alive():
            if not self.goal or process.work.layout == 1 or process.is_fenced:
                continue
            for task, lag in process.copies.items():
                if 0 <= lag <= WARM_LAG_MAX:
                    self.warmed.add((task, process.worker))
            for task in process.owned:
                active = self.goal[task][0]
                assert self.may_own(process.worker, task), (
                    f"{task} is at {process.worker}, and its copy at {active}: {self.describe()}"
                )

    def may_own(self, worker: str, task: TaskId) -> bool:
        """Once somebody is given up, what the others have may go on to where it is warm, too."""
        active = self.goal[task][0]
        is_cold = task not in self._work().stateless and (task, worker) not in self.warmed
        return worker == active or active in self.lost or bool(self.lost and not is_cold)

    def is_over(self) -> bool:
        alive = self._alive()
        return bool(alive) and all(one.work.layout == 2 for one in alive) and self._is_well()

    @property
    def is_scant(self) -> bool:
        """There are too few places for all copies: those that are there may be dealt anew."""
        return self.standbys >= len({self._place(one.worker) for one in self._alive()})

    def placed(self) -> Placed:
        owners = {task: one.worker for one in self._alive() for task in one.owned}
        return {
            task: (
                worker,
                frozenset(one.worker for one in self._alive() if task in one.copies),
            )
            for task, worker in owners.items()
        }


def begun(seed: int, *, lost: int = 0) -> Beginning:
    world = Beginning(seed, lost=lost)
    world.switch()
    try:
        world.until(world.is_over)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return world


def actives(placed: Placed) -> dict[TaskId, str]:
    return {task: worker for task, (worker, _standbys) in placed.items()}


def begun_all(count: int) -> None:
    for seed in range(count):
        begun(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_tasks_and_their_copies_begin_where_the_switch_said(seed: int) -> None:
    world = begun(seed)
    placed = world.placed()
    assert actives(placed) == actives(world.goal)
    assert placed == world.goal or world.is_scant


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_who_does_not_come_back_is_given_up_alone(seed: int) -> None:
    world = begun(seed, lost=1)
    owners = actives(world.placed())
    assert owners.keys() == world.goal.keys()
    assert not world.lost & set(owners.values())
    assert all(world.may_own(worker, task) for task, worker in owners.items())


def waits_for_nobody(patch: pytest.MonkeyPatch) -> None:
    """Whoever is back first is given what the others have."""
    patch.setattr(attendance, "BEGINNING_MS", 0)


def tells_nobody_for_whom_it_waits(patch: pytest.MonkeyPatch) -> None:
    """Whoever follows the first controller gives what the others have to those that are back."""
    nobody = property(lambda _: frozenset[str]())
    patch.setattr(attendance.Attendance, "beginning", nobody)


def knows_no_goal(patch: pytest.MonkeyPatch) -> None:
    """The first controller places the tasks as if they were new."""
    patch.setattr(state, "_begin", lambda *_: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken", [waits_for_nobody, tells_nobody_for_whom_it_waits, knows_no_goal]
)
def test_a_broken_rule_is_noticed(
    broken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    with pytest.raises(AssertionError, match="and its copy at"):
        begun_all(10)
