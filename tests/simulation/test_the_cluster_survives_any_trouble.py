"""Seeded lives of a cluster: kills, pauses, restarts, doubles, late records, two controllers."""

from __future__ import annotations

import pytest

from tests.simulation.lives import lived
from tests.simulation.world import RELEASES, World

ROUNDS = 30
FEW = 4
STEPS = 4_000


def live(seed: int, *, mixed: bool = False) -> World:
    return lived(World(seed, mixed=mixed), STEPS)


@pytest.mark.slow
def test_a_few_lives() -> None:
    """For whoever is in a hurry."""
    for seed in range(1_000, 1_000 + FEW):
        live(seed)
        live(seed, mixed=True)


@pytest.mark.slow
@pytest.mark.long
def test_no_task_has_two_owners_and_all_find_one(request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--seed", default=None)
    rounds = request.config.getoption("--rounds", default=None) or ROUNDS
    seeds = range(rounds) if seed is None else (seed,)
    steps = sum(live(each).steps for each in seeds)
    print(f"{len(seeds)} lives, {steps} steps")
    assert steps > len(seeds) * STEPS


@pytest.mark.slow
def test_workers_of_two_releases_never_own_tasks_at_a_time(request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--seed", default=None)
    rounds = request.config.getoption("--rounds", default=None) or ROUNDS
    seeds = range(rounds) if seed is None else (seed,)
    worlds = [live(each, mixed=True) for each in seeds]
    winners = {each.shape for world in worlds for each in world.processes if each.is_alive}
    assert seed is not None or winners == {shape for shape, _ in RELEASES}
