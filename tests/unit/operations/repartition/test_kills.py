"""A repartition that is killed anywhere, cancelled anywhere, or replaced while it stands still."""

from __future__ import annotations

import pytest

from streamer.testing.kills import OperationScene, check_cancels, check_kills, check_zombies
from tests.thorough import thorough
from tests.unit.operations.repartition.rig import Shop

POINTS = [
    "repartition.after_topics",
    "repartition.after_proof",
    "repartition.before_pause",
    "repartition.after_pause",
    "repartition.before_switch",
    "repartition.after_switch",
    "repartition.after_withdraw",
    "repartition.after_forget",
]


def shop() -> Shop:
    """The cities alone, which have a topic of their own."""
    return Shop({1: 1}, width=2)


def carried_out() -> OperationScene:
    made = shop()
    return made.scene(made.end)


def cancelled() -> OperationScene:
    made = shop()
    return made.scene(made.untouched)


@pytest.mark.slow
def test_killed_anywhere_it_ends_in_the_next_layout_with_all_of_the_state() -> None:
    assert len(check_kills(carried_out, POINTS)) > 30


@pytest.mark.slow
def test_cancelled_anywhere_before_the_switch_it_leaves_nothing() -> None:
    granted = check_cancels(cancelled, POINTS, every=29)
    assert ("repartition.before_switch", 1) in granted
    assert ("repartition.after_switch", 1) not in granted


def growing() -> Shop:
    """The sales alone, whose topic is given a partition."""
    return Shop({0: 3}, width=2)


def grown() -> OperationScene:
    made = growing()
    return made.scene(made.end)


def not_grown() -> OperationScene:
    made = growing()
    return made.scene(made.untouched)


@pytest.mark.slow
def test_killed_anywhere_it_ends_with_a_topic_that_was_grown() -> None:
    assert len(check_kills(grown, [*POINTS, "repartition.after_growth"])) > 30


@thorough
@pytest.mark.slow
def test_cancelled_anywhere_before_the_switch_the_topic_is_as_it_was() -> None:
    assert ("repartition.before_switch", 1) in check_cancels(not_grown, POINTS, every=29)


def trimmed() -> OperationScene:
    """Feeds that begin with snapshots."""
    made = shop()
    made.process()
    made.trim()
    return made.scene(made.end)


@thorough
@pytest.mark.slow
def test_killed_anywhere_it_has_all_of_what_was_trimmed() -> None:
    points = ["feed.after_produce", "feed.after_commit", "repartition.after_proof"]
    assert len(check_kills(trimmed, points)) > 20


@pytest.mark.slow
def test_a_process_that_wakes_after_it_was_replaced_changes_nothing() -> None:
    assert check_zombies(carried_out, POINTS)
