"""Moved bytes against an exact solver, which knows nothing of how the product searches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.exact import judge
from bench.fleets import Fleet
from bench.placement import changes
from streamer.assignment.facts import Facts


def instances(standbys: int, zipf: float) -> Iterator[Facts]:
    """A worker joins, one is gone, sizes change: of several fleets each."""
    for seed in range(4):
        yield from changes(
            Fleet(hosts=6, per_host=1, tasks=18, standbys=standbys, zipf=zipf, seed=seed)
        )


@pytest.mark.parametrize("standbys", [0, 1])
def test_of_tasks_of_one_size_none_moves_in_vain(standbys: int) -> None:
    for facts in instances(standbys, zipf=0.0):
        verdict = judge(facts)
        assert verdict.ratio is not None
        assert verdict.ratio <= 1.001


@pytest.mark.parametrize("standbys", [0, 1])
def test_with_skewed_sizes_no_more_than_a_twentieth_moves_in_vain(standbys: int) -> None:
    verdicts = [judge(facts) for facts in instances(standbys, zipf=0.5)]
    solved = [verdict for verdict in verdicts if verdict.least is not None]
    assert len(solved) == len(verdicts)
    moved = sum(verdict.moved for verdict in solved)
    assert moved <= 1.05 * sum(verdict.least or 0.0 for verdict in solved)
