"""What was approved is finished, and nothing else is begun, however many controllers it takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamer.control.requests import (
    DrainRecord,
    PlanRecord,
    ProposalRecord,
    ProposeRecord,
    RebalanceRecord,
)
from streamer.ids import TaskId
from tests.hurry import examples
from tests.simulation.world import World

# Of these each begins with three workers at most.
SEEDS = (2, *range(5, 16))[: examples(12)]
Placed = dict[str, tuple[str, frozenset[str]]]


def drifted(seed: int) -> World:
    """A cluster at rest; the tasks of one worker have come to take nine times as many records."""
    world = World(seed)
    world.settle(3)
    owned = max((process.owned for process in world.processes), key=len)
    world.kafka.rates = {task: 900 if task in owned else 100 for task in tasks(world)}
    upto = world.kafka.now_ms + 10_000
    world.until(lambda: world.kafka.now_ms > upto)
    return world


def tasks(world: World) -> frozenset[TaskId]:
    return world.processes[0].work.tasks


def placed(world: World) -> Placed:
    """By task, who owns it and who keeps a copy."""
    alive = [each for each in world.processes if each.is_alive]
    return {
        str(task): (
            ",".join(each.worker for each in alive if task in each.owned),
            frozenset(each.worker for each in alive if task in each.copies),
        )
        for task in tasks(world)
    }


def told(world: World) -> list[PlanRecord]:
    return [each for each in world.kafka.operations if isinstance(each, PlanRecord)]


def propose(world: World) -> ProposalRecord:
    def made() -> list[ProposalRecord]:
        return [each for each in world.kafka.operations if isinstance(each, ProposalRecord)]

    world.kafka.operations.append(ProposeRecord(number="p"))
    world.until(lambda: bool(made()))
    assert made()[-1].after, "there is nothing to move: the test would prove nothing"
    return made()[-1]


def answered(world: World, number: str) -> Callable[[], bool]:
    return lambda: any(each.rebalance[0] == number for each in told(world))


def goes_by(world: World, drain: str) -> Callable[[], bool]:
    return lambda: any(each.drain == drain for each in told(world))


def lose_controllers(world: World, *, every: int, times: int) -> None:
    for _ in range(times):
        for _ in range(every):
            world.step()
        world.lose_controller()


def is_at_rest(world: World) -> Callable[[], bool]:
    """A controller that is the only one says that nothing is left to move, and all obey it."""
    return lambda: (
        bool(world.terms)
        and all(
            term.state is not None
            and term.sessions is not None
            and not term.state.plan.attendance.is_waiting
            and wanted(term.state.plan.target) == placed(world)
            for term in world.terms.values()
        )
    )


def wanted(target: object) -> Placed:
    assert isinstance(target, dict)
    return {
        str(task): (copies.active or "", frozenset(copies.standbys))
        for task, copies in target.items()
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_what_has_drifted_stays_where_it_is(seed: int) -> None:
    world = drifted(seed)
    before, written = placed(world), len(world.kafka.assignments)
    lose_controllers(world, every=400, times=4)
    world.until(lambda: bool(world.terms))
    for _ in range(400):
        world.step()
    assert placed(world) == before
    assert len(world.kafka.assignments) == written
    propose(world)


@pytest.mark.slow
@pytest.mark.parametrize("every", [15, 40, 120])
@pytest.mark.parametrize("seed", SEEDS)
def test_an_approved_plan_is_finished_exactly(seed: int, every: int) -> None:
    world = drifted(seed)
    made = propose(world)
    goal = placed(world) | {
        task: (active, frozenset(standbys)) for task, (active, *standbys) in made.after.items()
    }
    world.kafka.operations.append(RebalanceRecord(number="a", id=made.id))
    lose_controllers(world, every=every, times=600 // every)
    world.until(answered(world, "a"))
    world.until(is_at_rest(world))
    assert {each.rebalance[1] for each in told(world) if each.rebalance[0] == "a"} == {"adopted"}
    assert placed(world) == goal


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plan_is_not_refused_by_the_next_of_those_who_made_its_first_grants(seed: int) -> None:
    world = drifted(seed)
    made = propose(world)
    world.kafka.operations.append(RebalanceRecord(number="a", id=made.id))
    world.kafka.answers_lost = 3
    world.until(answered(world, "a"))
    world.until(is_at_rest(world))
    assert {each.rebalance[1] for each in told(world) if each.rebalance[0] == "a"} == {"adopted"}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_stopped_stays_stopped(seed: int) -> None:
    world = drifted(seed)
    made = propose(world)
    world.kafka.operations.append(RebalanceRecord(number="a", id=made.id))
    world.until(answered(world, "a"))
    for _ in range(seed * 20):
        world.step()
    world.kafka.operations.append(RebalanceRecord(number="s", stops=True))
    world.until(answered(world, "s"))
    states = [term.state for term in world.terms.values() if term.state is not None]
    [stopped] = [wanted(each.plan.target) for each in states if each.wishes.outcome[0] == "s"]
    lose_controllers(world, every=60, times=8)
    world.until(is_at_rest(world))
    assert placed(world) == stopped


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 40, 160])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_drain_that_was_stopped_moves_nothing_more(seed: int, after: int) -> None:
    world = drifted(seed)
    busiest = max(world.processes, key=lambda process: len(process.owned))
    world.kafka.operations.append(DrainRecord(number="d", workers=(busiest.worker,)))
    if after:
        world.until(goes_by(world, "d"))
    for _ in range(after):
        world.step()
    world.kafka.operations.append(RebalanceRecord(number="s", stops=True, drain="d"))
    world.until(answered(world, "s"))
    kept = set(dict(world.kafka.assignments)[busiest.worker].tasks)  # type: ignore[union-attr]
    lose_controllers(world, every=60, times=8)
    world.until(is_at_rest(world))
    assert {str(task) for task in busiest.owned} == kept
    world.kafka.operations.append(DrainRecord(number="again", workers=(busiest.worker,)))
    world.until(lambda: not (busiest.owned or busiest.copies))


@pytest.mark.slow
def test_drains_that_are_stopped_are_so_before_they_are_done() -> None:
    """The test above proves something: most of its drains have yet to move a task."""
    unfinished = 0
    for seed in SEEDS:
        world = drifted(seed)
        busiest = max(world.processes, key=lambda process: len(process.owned))
        world.kafka.operations.append(DrainRecord(number="d", workers=(busiest.worker,)))
        world.until(goes_by(world, "d"))
        unfinished += bool(busiest.owned)
    assert unfinished > len(SEEDS) / 2
