"""Tombstones leave a changelog after a while: a feed that comes later than that has missed some."""

from __future__ import annotations

import pytest

from streamer.changelog.topics import DELETE_RETENTION_MS
from streamer.errors import StateOutdatedError
from streamer.ids import TopicPartition
from tests.unit.feed.rig import KEYS, PLAIN, World, check, plan

HOUR_MS = 3_600_000
KEY = KEYS[0]


def fed() -> World:
    """One task, whose feed has copied a row and is at the end."""
    world = World(plan(1, 2, specs=(PLAIN,)), specs=(PLAIN,))
    world.write("plain", KEY)
    world.feed_all()
    return world


def lose_tombstone(world: World) -> None:
    """The row is removed, and compaction takes away both the row and the record of its removal."""
    world.write("plain", KEY, None)
    log = world.broker.log(TopicPartition(world.plan.stores[0].source, 0))
    log.entries = [None] * len(log.entries)
    world.write("plain", KEYS[1], b"newer")


def test_what_it_would_bring_back_is_refused() -> None:
    world = fed()
    lose_tombstone(world)
    world.clock.advance(DELETE_RETENTION_MS + 12 * HOUR_MS)
    written = world.changes(is_new=True)
    with (
        world.feed(0) as feed,
        pytest.raises(StateOutdatedError, match=r"0\.5 days too old to go on in spend-plain-"),
    ):
        feed.step()
    assert world.changes(is_new=True) == written
    assert not world.broker.transactions


def test_without_the_look_a_removed_row_would_stay() -> None:
    world = fed()
    lose_tombstone(world)
    world.feed_all()
    held = {one.key: one.value for one in world.broker.records(world.plan.stores[0].target)}
    assert held[KEY] is not None


def test_one_that_stood_still_at_the_end_goes_on() -> None:
    world = fed()
    world.clock.advance(DELETE_RETENTION_MS + HOUR_MS)
    with world.feed(0) as feed:
        # Nothing came meanwhile, so nothing was missed; the next one knows of it, too.
        feed.step()
        feed.step()
    world.clock.advance(HOUR_MS)
    world.write("plain", KEY, None)
    world.feed_all()
    check(world)


def test_one_that_follows_grows_no_older() -> None:
    world = fed()
    with world.feed(0) as feed:
        for _ in range(3 * 7 * 24):
            world.clock.advance(HOUR_MS)
            feed.step()
        world.write("plain", KEY, None)
        feed.step()
    check(world)
    # What it has committed meanwhile is as young.
    world.write("plain", KEY)
    world.feed_all()
    check(world)


def test_one_that_is_never_at_the_end_grows_old_while_it_copies() -> None:
    world = World(plan(1, 2, specs=(PLAIN,)), specs=(PLAIN,))
    days = 0

    def copied() -> None:
        nonlocal days
        while True:
            days += 1
            world.clock.advance(24 * HOUR_MS)
            for number in range(30):
                world.write("plain", KEYS[number % len(KEYS)])
            feed.step()

    # As fast as to copy one record a day.
    with world.feed(0, bytes_per_s=1) as feed:
        world.write("plain", KEY)
        feed.step()
        with pytest.raises(StateOutdatedError, match=r"1\.0 days too old"):
            copied()
    assert days == 8
