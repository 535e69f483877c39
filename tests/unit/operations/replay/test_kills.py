"""A replay that is killed anywhere, cancelled anywhere, or replaced while it stands still."""

from __future__ import annotations

import pytest

from streamer.testing.kills import OperationScene, check_cancels, check_kills, check_zombies
from tests.thorough import thorough
from tests.unit.operations.replay.rig import Based, Rereading

POINTS = [
    "repartition.after_topics",
    "repartition.before_pause",
    "repartition.before_switch",
    "repartition.after_switch",
    "replay.after_delete",
]


def carried_out() -> OperationScene:
    return Rereading().replay("end")


def cancelled() -> OperationScene:
    return Rereading().replay("untouched")


@pytest.mark.slow
def test_killed_anywhere_it_ends_with_what_was_computed_and_leaves_nothing_of_who_did() -> None:
    assert len(check_kills(carried_out, POINTS)) > 30


@thorough
@pytest.mark.slow
def test_cancelled_anywhere_before_the_switch_it_leaves_nothing() -> None:
    granted = check_cancels(cancelled, POINTS, every=97)
    assert ("repartition.before_switch", 1) in granted
    assert ("repartition.after_switch", 1) not in granted


@thorough
@pytest.mark.slow
def test_a_process_that_wakes_after_it_was_replaced_changes_nothing() -> None:
    assert check_zombies(carried_out, POINTS)


def based() -> OperationScene:
    return Based().replay("end")


def not_based() -> OperationScene:
    return Based().replay("untouched")


BASED = ["replay.after_rows", "repartition.after_topics", "replay.after_delete"]


@thorough
@pytest.mark.slow
def test_killed_anywhere_it_has_the_rows_of_its_snapshots_and_what_came_after_them() -> None:
    assert len(check_kills(based, BASED)) > 30


@thorough
@pytest.mark.slow
def test_cancelled_anywhere_before_the_switch_nothing_of_them_is_left() -> None:
    assert ("replay.after_rows", 1) in check_cancels(not_based, BASED, every=97)
