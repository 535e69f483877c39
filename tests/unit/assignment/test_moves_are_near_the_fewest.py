"""Moved bytes against an exact solver, which knows nothing of how the product searches."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from bench.exact import judge
from bench.fleets import Fleet
from bench.placement import changes
from streamer.assignment import thrift
from streamer.assignment.facts import Facts, Load, Site
from streamer.assignment.place import settle
from streamer.ids import TaskId


def instances(standbys: int, zipf: float) -> Iterator[Facts]:
    """A worker joins, one is gone, sizes change: of several fleets each."""
    for seed in range(4):
        yield from changes(
            Fleet(hosts=6, per_host=1, tasks=18, standbys=standbys, zipf=zipf, seed=seed)
        )


@pytest.mark.slow
@pytest.mark.parametrize("standbys", [0, 1])
def test_of_tasks_of_one_size_none_moves_in_vain(standbys: int) -> None:
    for facts in instances(standbys, zipf=0.0):
        verdict = judge(facts)
        assert verdict.ratio is not None
        assert verdict.ratio <= 1.001


@pytest.mark.slow
@pytest.mark.parametrize("standbys", [0, 1])
def test_with_skewed_sizes_no_more_than_a_twentieth_moves_in_vain(standbys: int) -> None:
    verdicts = [judge(facts) for facts in instances(standbys, zipf=0.5)]
    solved = [verdict for verdict in verdicts if verdict.least is not None]
    assert len(solved) == len(verdicts)
    moved = sum(verdict.moved for verdict in solved)
    assert moved <= 1.05 * sum(verdict.least or 0.0 for verdict in solved)


@pytest.mark.slow
def test_no_more_is_weighed_for_many_tasks_than_for_few() -> None:
    """A plan takes about a second in clusters that are searched thoroughly; some took 17."""
    for workers, count in ((6, 60), (20, 500)):
        dice = random.Random(1)
        loads = {
            TaskId(0, number): Load(int(dice.paretovariate(1.2) * 1e8), int(dice.expovariate(1e-4)))
            for number in range(count)
        }
        sites = {f"w{number}": Site(host=f"h{number}") for number in range(workers)}
        scale = settle(Facts(sites, loads))
        assert scale.looks < 2 * thrift._LOOKS
