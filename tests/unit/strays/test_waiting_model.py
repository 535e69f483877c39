"""The waiting rule in every order of steps: records of a key are processed in their order.

What the rule cannot promise is here too, as scenes in which it does not hold.
"""

from __future__ import annotations

import pytest

from tests.thorough import thorough
from tests.unit.strays.model import Rule, Scene, explore

# From 2 partitions to 3, murmur2 sends some keys from 0 to 1 and others from 1 to 0.
CROSSING = {"a": (0, 1), "b": (1, 0)}
HOMES = {"a": 1, "b": 0}
ONE = {"a": (0, 1)}


@pytest.mark.slow
def test_keys_that_cross_both_ways_keep_their_order_and_nobody_waits_for_ever() -> None:
    found = explore(Scene(CROSSING, HOMES))
    assert found.states > 100_000
    assert found.ends
    assert not found.reordered
    assert not found.stuck


@pytest.mark.slow
@pytest.mark.parametrize(
    "scene",
    [
        Scene({"a": (0, 0, 1, 1)}, HOMES),
        Scene({"a": (0, 0, 1)}, HOMES, frozenset("a")),
        Scene(ONE, HOMES, frozenset("a"), aborts=2),
    ],
)
def test_several_producers_of_a_key_one_after_the_other(scene: Scene) -> None:
    """Some have old metadata, and then one knows better; what is forwarded may be taken back."""
    found = explore(scene)
    assert found.ends
    assert not found.reordered
    assert not found.stuck


@thorough
@pytest.mark.parametrize("transactional", [frozenset("a"), frozenset("ab")])
def test_keys_that_cross_both_ways_in_transactions(transactional: frozenset[str]) -> None:
    found = explore(Scene(CROSSING, HOMES, transactional))
    assert found.ends
    assert not found.reordered
    assert not found.stuck


@pytest.mark.parametrize("rule", [Rule(ends="stable"), Rule(strays="stable")])
def test_last_stable_offsets_instead_of_high_watermarks_reorder(rule: Rule) -> None:
    assert explore(Scene(ONE, HOMES, frozenset("a"))).reordered == []
    assert explore(Scene(ONE, HOMES, frozenset("a")), rule).reordered


def test_without_a_position_of_its_own_forwarding_waits_in_a_circle() -> None:
    found = explore(Scene(CROSSING, HOMES), Rule(is_ahead=False))
    assert found.stuck
    state = found.stuck[0]
    # Both hold what the other one waits for.
    assert all(task.held_to and task.wait.asks == "forwarded" for task in state.tasks)


def test_who_goes_back_to_the_former_partition_is_not_kept_in_order() -> None:
    """A producer with old metadata writes after another one's record at home was acknowledged.
    Both logs look the same as with the opposite order, so no reader could tell."""
    assert explore(Scene({"a": (1, 0)}, HOMES)).reordered


@pytest.mark.slow
def test_two_growths_at_a_time_are_not_kept_in_order() -> None:
    """Strays of a key in two partitions: their readers forward them in any order. So the next
    growth has to wait until strays of the last one are not expected any more."""
    scene = Scene({"a": (0, 1, 2)}, {"a": 2}, partitions=3)
    assert explore(scene).reordered
