"""What was fed since a cut is held against what the new changelogs have."""

from __future__ import annotations

import pytest

from streamer import failpoints
from streamer.errors import (
    OperationRefusedError,
    ProcessingError,
    UnfinishedError,
)
from streamer.feed.proof import prove, take_cut
from streamer.ids import TopicPartition
from tests.unit.feed.rig import KEYS, SPECS, World, filled

ROW = b"\1" + bytes(8)


def test_what_was_fed_since_a_cut_is_what_is_there() -> None:
    world = filled(World())
    begin = take_cut(world.plan, world.ports, timeout_s=1)
    assert begin.fed == ()
    world.feed_all()
    cut = take_cut(world.plan, world.ports, timeout_s=1)
    assert type(cut).decode(cut.encode(), "here") == cut
    filled(world, 1)
    world.feed_all()
    for one in (begin, cut, take_cut(world.plan, world.ports, timeout_s=1)):
        assert prove(world.plan, world.ports, one, specs=SPECS, timeout_s=5) == []
    stranger = world.plan.reversed
    with pytest.raises(OperationRefusedError, match="the cut is of the plan"):
        prove(stranger, world.ports, cut, specs=SPECS, timeout_s=5)


def test_a_record_that_is_lost_twice_there_or_changed_is_found() -> None:
    world = filled(World())
    begin = take_cut(world.plan, world.ports, timeout_s=1)
    world.feed_all()
    place = TopicPartition("spend-plain-changelog.layout-2", 1)
    log = world.broker.log(place)
    at, entry = next(
        (at, one) for at, one in enumerate(log.entries) if one and one.is_visible and one.value
    )

    def found() -> list[str]:
        return [str(one) for one in prove(world.plan, world.ports, begin, specs=SPECS, timeout_s=5)]

    log.entries[at] = None
    assert len(found()) == 1
    assert found()[0].startswith("store plain, task 1: fed ")
    log.entries[at] = entry
    assert found() == []
    kept = entry.value
    entry.value = ROW + b"other"
    assert len(found()) == 1
    entry.value = None
    assert len(found()) == 1
    entry.value = kept
    world.broker.append(place, entry.key, entry.value)
    assert len(found()) == 1
    astray = next(key for key in KEYS if world.plan.homes()[1].home(key) == 0)
    world.broker.append(place, astray, ROW)
    with pytest.raises(ProcessingError, match="lie in task 1 and belong to others"):
        found()


def test_a_cut_is_not_taken_while_a_feed_writes() -> None:
    world = filled(World())
    feed = world.feed(0)
    feed.open()
    with failpoints.armed("feed.before_commit", "error"), pytest.raises(failpoints.InjectedError):
        feed.step()
    with pytest.raises(UnfinishedError, match="did not stand still in 0 s"):
        take_cut(world.plan, world.ports, timeout_s=0)


def test_sums_that_were_lost_prove_nothing() -> None:
    world = filled(World())
    world.feed_all()
    cut = take_cut(world.plan, world.ports, timeout_s=1)
    for group in world.broker.groups.values():
        for place in [one for one in group if one.topic.endswith("layout-2")]:
            del group[place]
    with pytest.raises(OperationRefusedError, match="0 records are noted as fed, and"):
        prove(world.plan, world.ports, cut, specs=SPECS, timeout_s=5)
