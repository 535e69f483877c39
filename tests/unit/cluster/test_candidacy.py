"""Who stands for election, as everybody finds it for himself."""

from __future__ import annotations

import random

import pytest

from streamer.cluster.candidacy import (
    CANDIDATES,
    CANDIDATES_MAX,
    hesitation_s,
    is_surplus,
    is_wanted,
    watch_s,
)


def test_the_first_ones_stand_and_one_more_of_each_zone_that_has_none() -> None:
    assert is_wanted("az=a", [])
    assert is_wanted("az=a", ["az=a"] * (CANDIDATES - 1))
    assert not is_wanted("az=a", ["az=a"] * CANDIDATES)
    assert is_wanted("az=b", ["az=a"] * CANDIDATES)
    assert not is_wanted("az=b", ["az=a"] * (CANDIDATES_MAX - 1) + ["az=b"])
    assert not is_wanted("az=b", ["az=a"] * CANDIDATES_MAX)


@pytest.mark.parametrize("zones", [1, 3, 40])
def test_of_too_many_all_find_the_same_few_in_as_many_zones_as_can_be(zones: int) -> None:
    zone_of = {f"w{number}": f"az={number % zones}" for number in range(300)}
    kept = [name for name in zone_of if not is_surplus(name, zone_of)]
    assert len(kept) == CANDIDATES
    assert len({zone_of[name] for name in kept}) == min(zones, CANDIDATES)
    # When those have left that were to leave, nobody is to leave or to join.
    left = {name: zone_of[name] for name in kept}
    assert not any(is_surplus(name, left) for name in left)
    assert zones > CANDIDATES or not is_wanted("az=0", list(left.values()))


def test_nobody_leaves_where_there_are_only_some_more_than_needed() -> None:
    zone_of = {f"w{number}": "" for number in range(CANDIDATES_MAX)}
    assert not any(is_surplus(name, zone_of) for name in zone_of)


def test_of_a_thousand_that_start_together_a_few_are_first() -> None:
    """Those who draw less than a tenth of a second more than the first have not seen it."""
    chance = random.Random(1)
    waits = sorted(hesitation_s(chance) for _ in range(1_000))
    assert waits[0] < 0.05
    assert sum(wait < waits[0] + 0.05 for wait in waits) < 50
    assert waits[-1] <= 0.3
    assert all(10 < watch_s(chance) < 20 for _ in range(100))
