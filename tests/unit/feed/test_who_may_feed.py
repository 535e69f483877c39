"""A feed looks whether it may, behind its id: whoever ended it before that is obeyed."""

from __future__ import annotations

import pytest

from streamer.errors import FencedError
from tests.unit.feed.rig import World, filled


def test_a_feed_that_is_not_the_one_any_more_writes_nothing_however_often_it_begins() -> None:
    world = filled(World())
    seen: list[int] = []

    def guard() -> None:
        seen.append(world.broker.epochs[world.plan.name(0)])
        if len(seen) > 1:
            raise FencedError("another process carries it out")

    feed = world.feed(0, guard=guard)
    feed.step()
    assert seen == [0], "behind the id, and once"
    # Its operation is finished: the ids are taken over, and what the group knew is gone.
    written = world.changes(is_new=True)
    world.broker.producer(world.plan.name(0)).init()
    world.broker.groups.pop(world.plan.name(0))
    with pytest.raises(FencedError, match="another process"):
        feed.open()
    assert len(seen) == 2
    assert world.changes(is_new=True) == written
    assert world.plan.name(0) not in world.broker.groups


def test_without_the_look_it_would_begin_again_behind_newer_rows() -> None:
    world = filled(World())
    feed = world.feed(0)
    feed.step()
    written = world.changes(is_new=True)
    world.broker.groups.pop(world.plan.name(0))
    feed.open()
    feed.step()
    assert world.changes(is_new=True) != written
