"""The laws of a placement, over generated clusters; and worked examples of each rule."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.assignment.model import Situation, moves, spread
from streamer.assignment.solve import solve
from streamer.ids import TaskId

T = TypeVar("T")

laws = settings(max_examples=150, deadline=None)
WORKERS = [f"w{number}" for number in range(9)]
TASKS = [TaskId(sub, part) for sub in range(3) for part in range(7)]


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    tasks = draw(st.frozensets(st.sampled_from(TASKS)))
    names = st.sampled_from(WORKERS)
    return Situation(
        workers=draw(st.frozensets(names, min_size=1)),
        tasks=tasks,
        owners=draw(st.dictionaries(st.sampled_from(TASKS), names)),
        former=draw(st.dictionaries(st.sampled_from(TASKS), names)),
    )


def tasks(count: int, subtopology: int = 0) -> frozenset[TaskId]:
    return frozenset(TaskId(subtopology, number) for number in range(count))


def fewest_moves(situation: Situation) -> int:
    """By another way than the solver's: try every share of the larger quotas."""
    size, larger = divmod(len(situation.tasks), len(situation.workers))
    held = Counter(
        owner
        for task, owner in situation.owners.items()
        if task in situation.tasks and owner in situation.workers
    )
    kept = sum(min(held[worker], size) for worker in situation.workers)
    above = sum(held[worker] > size for worker in situation.workers)
    return len(situation.tasks) - kept - min(above, larger)


@laws
@given(situations())
def test_every_task_has_one_live_worker(situation: Situation) -> None:
    placement = solve(situation)
    assert placement.keys() == situation.tasks
    assert set(placement.values()) <= situation.workers


@laws
@given(situations())
def test_the_fullest_has_at_most_one_more(situation: Situation) -> None:
    assert spread(solve(situation), situation.workers) <= 1


@laws
@given(situations())
def test_no_even_placement_moves_fewer(situation: Situation) -> None:
    assert len(moves(situation.owners, solve(situation))) == fewest_moves(situation)


@laws
@given(situations())
def test_a_second_look_moves_nothing(situation: Situation) -> None:
    placement = solve(situation)
    again = Situation(situation.workers, situation.tasks, placement, situation.former)
    assert solve(again) == placement


@laws
@given(situations(), st.integers())
def test_the_order_of_the_facts_does_not_matter(situation: Situation, seed: int) -> None:
    chance = random.Random(seed)

    def shuffled(items: Iterable[T]) -> list[T]:
        listed = list(items)
        chance.shuffle(listed)
        return listed

    other = Situation(
        frozenset(shuffled(situation.workers)),
        frozenset(shuffled(situation.tasks)),
        dict(shuffled(situation.owners.items())),
        dict(shuffled(situation.former.items())),
    )
    assert solve(other) == solve(situation)


@laws
@given(st.integers(1, 9), st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_a_first_placement_spreads_every_subtopology(workers: int, sizes: list[int]) -> None:
    every = frozenset(TaskId(sub, part) for sub, size in enumerate(sizes) for part in range(size))
    names = frozenset(WORKERS[:workers])
    placement = solve(Situation(names, every))
    for sub in range(len(sizes)):
        own = {task: worker for task, worker in placement.items() if task.subtopology == sub}
        assert spread(own, names) <= 1


def test_without_workers_nothing_is_placed() -> None:
    assert solve(Situation(frozenset(), tasks(3))) == {}


def test_a_joining_worker_takes_only_its_share() -> None:
    before = solve(Situation(frozenset({"a", "b"}), tasks(12)))
    after = solve(Situation(frozenset({"a", "b", "c"}), tasks(12), before))
    assert Counter(after.values()) == {"a": 4, "b": 4, "c": 4}
    assert all(target == "c" for _, target in moves(before, after).values())


def test_a_leaving_worker_moves_only_its_own_tasks() -> None:
    names = frozenset({"a", "b", "c"})
    before = solve(Situation(names, tasks(9)))
    after = solve(Situation(names - {"c"}, tasks(9), before))
    assert {source for source, _ in moves(before, after).values()} == {"c"}
    assert spread(after, names - {"c"}) == 1


def test_a_worker_that_comes_back_gets_its_old_tasks() -> None:
    names = frozenset({"a", "b", "c"})
    home = solve(Situation(names, tasks(9)))
    without = solve(Situation(names - {"c"}, tasks(9), home))
    back = solve(Situation(names, tasks(9), without, home))
    assert back == home


def test_the_surplus_leaves_from_the_subtopology_that_is_crowded() -> None:
    every = tasks(4, 0) | tasks(2, 1)
    after = solve(Situation(frozenset({"a", "b"}), every, dict.fromkeys(every, "a")))
    moved = [task.subtopology for task, worker in after.items() if worker == "b"]
    assert sorted(moved) == [0, 0, 1]


def test_the_size_of_a_large_fleet_is_planned_in_seconds() -> None:
    names = frozenset(f"host{number:04}" for number in range(1_200))
    every = frozenset(TaskId(sub, part) for sub in range(3) for part in range(4_000))
    started = time.process_time()
    before = solve(Situation(names, every))
    after = solve(Situation(names - {"host0007"}, every, before))
    assert time.process_time() - started < 5
    assert len(moves(before, after)) == 10
    assert spread(after, names - {"host0007"}) <= 1
