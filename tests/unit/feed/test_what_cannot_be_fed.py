"""What a feed cannot take stops it, with nothing written of it, and says where it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamer.errors import (
    ChangelogTrimmedError,
    InternalTopicError,
    OperationRefusedError,
    PartitionsChangedError,
    ProcessingError,
    RecordTooLargeError,
    TaskCorruptedError,
    TopicMissingError,
)
from streamer.ids import TopicPartition
from streamer.kafka.api import AbortableError, Committed
from streamer.topology.stores import Store
from tests.unit.feed.rig import KEYS, PLAIN, World, filled, plan


def append(world: World, key: bytes | None, value: bytes | None, store: int = 0) -> None:
    world.broker.append(TopicPartition(world.plan.stores[store].source, 0), key, value)


def refused(kind: type[Exception], match: str, *, fill: Callable[[World], None]) -> None:
    """A feed stops at what it cannot feed, and has written nothing of that batch."""
    world = World()
    fill(world)
    with pytest.raises(kind, match=match):
        world.feed(0).run()
    assert not any(world.changes(is_new=True).values())
    assert not world.broker.transactions


ROW = b"\1" + bytes(8)


def test_a_record_whose_home_cannot_be_told_is_named() -> None:
    where = r"spend-{}-changelog/0 offset 0"
    refused(
        ProcessingError,
        "store plain has no key, .*" + where.format("plain"),
        fill=lambda world: append(world, None, ROW),
    )
    refused(
        ProcessingError,
        "store windows has a key of 7 bytes, .*" + where.format("windows"),
        fill=lambda world: append(world, b"7 bytes", None, store=1),
    )
    refused(
        ProcessingError,
        "store sessions has a key of 15 bytes, .*" + where.format("sessions"),
        fill=lambda world: append(world, bytes(15), None, store=2),
    )
    refused(
        InternalTopicError,
        "holds rows of a window store, .* first at offset 0",
        fill=lambda world: append(world, b"key", b"\x11" + bytes(8)),
    )
    refused(
        TaskCorruptedError,
        "rows of form none, .* first at offset 0",
        fill=lambda world: append(world, b"key", b""),
    )


def test_a_record_that_lies_in_another_task_is_named() -> None:
    here, _there = plan().homes()
    astray = next(key for key in KEYS if here.home(key) == 1)
    refused(
        ProcessingError,
        r"1 of 1 records of store plain lie in task 0 .* the first to 1 of 2 tasks by murmur2",
        fill=lambda world: append(world, astray, ROW),
    )


def test_a_partition_key_that_fails_names_the_record() -> None:
    def fussy(key: bytes) -> bytes:
        if key == b"bad":
            raise ValueError("no such customer")
        return KEYS[0]

    spec = Store("plain", bytes, bytes, partition_key=fussy).spec(key=PLAIN.key)
    world = World(plan(1, 2, specs=(spec,)), specs=(spec,))
    for key in (b"good", b"bad"):
        append(world, key, ROW)
    with pytest.raises(
        ProcessingError, match=r"no such customer .*changelog/0 offset 1 key b'bad'"
    ):
        world.feed(0).step()


def test_a_record_that_brokers_refuse_stops_the_feed() -> None:
    world = World()
    world.broker._message_bytes_max = 1_000
    append(world, next(one for one in KEYS if world.plan.homes()[0].home(one) == 0), ROW * 200)
    with pytest.raises(RecordTooLargeError):
        world.feed(0).run()
    assert not world.broker.transactions


def test_a_changelog_that_was_trimmed_is_told_with_both_offsets() -> None:
    world = filled(World())
    place = TopicPartition("spend-windows-changelog", 0)
    world.broker.delete_before(place, 5)
    with pytest.raises(
        ChangelogTrimmedError, match=r"to go on at 2, .* begins at 5: 3 offsets"
    ) as e:
        world.feed(0, starts={"plain": 0, "windows": 2, "sessions": 0}).step()
    assert "Cancel the operation" in e.value.hint
    # Also while it runs.
    feed = world.feed(0, starts={"plain": 0, "windows": 5, "sessions": 0})
    feed.step()
    filled(world)
    world.broker.delete_before(place, world.broker.bounds(place)[1])
    with pytest.raises(ChangelogTrimmedError, match=r"feed spend\.feed.op-1\.0_0 is to go on at"):
        feed.step()
    with pytest.raises(TaskCorruptedError, match="is to go on at 900, and the topic ends at"):
        world.feed(1, starts={"plain": 900, "windows": 0, "sessions": 0}).step()


def test_topics_that_are_not_those_of_the_plan_are_named() -> None:
    world = World()
    world.broker.create("spend-plain-changelog.layout-2", 4)
    with pytest.raises(
        PartitionsChangedError, match=r"layout-2 has 4 partitions, .* 2 has 3 tasks"
    ):
        world.feed(0).open()
    del world.broker._topics["spend-plain-changelog.layout-2"]
    with pytest.raises(TopicMissingError, match="layout-2"):
        world.feed(0).run()
    # Also while it runs, where it looks like brokers that do not answer.
    world.broker.create("spend-plain-changelog.layout-2", 3)
    feed = world.feed(0)
    feed.open()
    del world.broker._topics["spend-plain-changelog.layout-2"]
    world.broker.fail_next("send", AbortableError("not delivered"))
    append(world, next(key for key in KEYS if world.plan.homes()[0].home(key) == 0), ROW)
    with pytest.raises(TopicMissingError, match="layout-2"):
        feed.run()


def test_positions_that_were_lost_are_not_begun_anew() -> None:
    world = filled(World())
    with pytest.raises(OperationRefusedError, match="has no position for the changelog of plain"):
        world.feed(0, starts=None).open()
    with pytest.raises(OperationRefusedError, match="is not told where in sessions, windows"):
        world.feed(0, starts={"plain": 0}).open()
    world.feed_all()
    group = world.broker.groups["spend.feed.op-1.0_0"]
    del group[TopicPartition("spend-plain-changelog", 0)]
    with pytest.raises(OperationRefusedError, match=r"no position for the changelog of plain$"):
        world.feed(0).open()
    group[TopicPartition("spend-plain-changelog", 0)] = Committed(3, "by hand")
    with pytest.raises(OperationRefusedError, match=r"position 3 .* the note 'by hand'"):
        world.feed(0).open()


def test_positions_are_committed_again_before_brokers_forget_them() -> None:
    world = filled(World())
    with world.feed(0) as feed:
        feed.step()
        feed.step()
        known = dict(world.broker.groups["spend.feed.op-1.0_0"])
        world.broker.groups["spend.feed.op-1.0_0"].clear()
        feed.step()
        assert not world.broker.groups["spend.feed.op-1.0_0"]
        world.clock.advance(21 * 60_000)
        feed.step()
    again = world.broker.groups["spend.feed.op-1.0_0"]
    assert again.keys() == known.keys()
    assert all(again[place].position >= known[place].position for place in known)
