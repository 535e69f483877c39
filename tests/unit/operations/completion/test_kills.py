"""A completion that is killed anywhere, cancelled anywhere, or replaced while it stands still."""

from __future__ import annotations

import pytest

from streamer.testing.kills import OperationScene, check_cancels, check_kills, check_zombies
from tests.unit.operations.completion.rig import Left

POINTS = ["completion.after_topics", "completion.after_order"]


def scene() -> OperationScene:
    return Left().scene()


@pytest.mark.slow
def test_killed_anywhere_it_ends_with_all_of_it_deleted() -> None:
    assert len(check_kills(scene, POINTS)) > 10


@pytest.mark.slow
def test_it_is_cancelled_before_it_has_begun_to_delete_and_only_then() -> None:
    granted = check_cancels(scene, POINTS, every=3)
    assert ("operations.after_claim", 1) in granted
    assert ("completion.after_topics", 1) not in granted


@pytest.mark.slow
def test_a_process_that_wakes_after_it_was_replaced_changes_nothing() -> None:
    assert check_zombies(scene, POINTS)
