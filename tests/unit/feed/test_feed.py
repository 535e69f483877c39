"""A feed takes every committed record once, in its key's order, to where its key is at home."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import failpoints
from streamer.errors import (
    FencedError,
    KafkaUnavailableError,
    ProcessingError,
    StoppedError,
    UnfinishedError,
)
from streamer.feed.running import RunningFeeds
from streamer.ids import TopicPartition
from streamer.kafka.api import AbortableError
from streamer.kafka.fake_log import Transaction
from streamer.split.homes import Homes
from streamer.topology.stores import Store
from tests.hurry import examples
from tests.unit.feed.rig import KEYS, PLAIN, World, check, feed_ends, filled, plan

POINTS = ["feed.before_produce", "feed.after_produce", "feed.before_commit", "feed.after_commit"]


@pytest.mark.parametrize(
    ("source", "target"),
    [(2, 3), (3, 2), (1, 5), (4, 1), (Homes(2, 6), Homes(3, 6, "consistent"))],
    ids=str,
)
def test_records_go_home_as_they_are(source: Any, target: Any) -> None:
    world = filled(World(plan(source, target)))
    world.feed_all()
    check(world)


def test_what_is_written_later_follows() -> None:
    world = World()
    with world.feed(0) as feed:
        assert feed.step() == 0
        filled(world)
        assert not feed.caught_up()
        feed.drain_to(feed_ends(world, 0), timeout_s=5)
        assert feed.caught_up()
        assert feed.progress.lag == 0
        done = feed.progress.records
        assert done == feed.progress.records_total == sum(t.rows for t in feed.state.sums.values())
    with world.feed(1) as feed:
        feed.open()
        while not feed.caught_up():
            feed.step()
    check(world)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("number", [1, 2])
def test_a_feed_that_dies_anywhere_repeats_and_loses_nothing(point: str, number: int) -> None:
    world = World()
    mine = next(key for key in KEYS if world.plan.homes()[0].home(key) == 0)

    def until_it_dies() -> None:
        while True:
            dying.step()
            world.write("plain", mine, b"more")

    for starts in (dict.fromkeys(("plain", "windows", "sessions"), 0), None):
        filled(world)
        dying = world.feed(0, starts=starts)
        with failpoints.armed(point, f"error@{number}"), pytest.raises(failpoints.InjectedError):
            until_it_dies()
        # It is left as a kill leaves it, with its transaction open. Starts are of no account once
        # its begin was committed.
        heir = world.feed(0, starts=starts)
        heir.drain_to(feed_ends(world, 0), timeout_s=30)
        world.write("plain", mine, b"late")
        if dying.state.positions:  # else it had not begun, and would take over itself
            with pytest.raises(FencedError):
                dying.step()
    world.feed_all()
    check(world)


@settings(max_examples=examples(25))
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from(KEYS), st.none() | st.binary(max_size=3)), max_size=40),
    st.integers(0, 3),
)
def test_there_and_back_is_the_same(
    tasks: int, others: int, changes: list[tuple[bytes, bytes | None]], repeats: int
) -> None:
    """n -> n+1 -> n, into changelogs of their own: each key's records are what they were."""
    world = World(plan(tasks, others, specs=(PLAIN,)), specs=(PLAIN,))
    for key, value in changes:
        world.write("plain", key, value)
    before = world.changes(is_new=False)
    for _ in range(repeats + 1):
        world.feed_all()
    back = World(world.plan.reversed, specs=(PLAIN,))
    back.broker, back.ports = world.broker, world.ports
    begins = {
        task: world.broker.bounds(TopicPartition(world.plan.stores[0].source, task))[1]
        for task in range(tasks)
    }
    back.feed_all()
    returned = []
    for task, begin in begins.items():
        place = TopicPartition(world.plan.stores[0].source, task)
        returned += [
            (one.key, one.value, one.timestamp_ms, one.headers)
            for one in world.broker.partition_records(place, start=begin)
        ]
    assert sorted(returned, key=lambda one: one[0]) == before["plain"]


def test_a_store_of_process_says_whose_its_rows_are() -> None:
    spec = Store("plain", bytes, bytes, partition_key=lambda key: key[:10]).spec(key=PLAIN.key)
    world = World(plan(2, 3, specs=(spec,)), specs=(spec,))
    here, there = world.plan.homes()
    for key in KEYS:
        place = TopicPartition(world.plan.stores[0].source, here.home(key[:10]))
        world.broker.append(place, key, b"\1" + bytes(8))
    world.feed_all()
    found = world.broker.records(world.plan.stores[0].target)
    assert len(found) == len(KEYS)
    assert all(one.partition == there.home(one.key[:10]) for one in found)


# -- trouble that passes ---------------------------------------------------------------------------


def test_a_batch_that_fails_is_fed_again_in_order() -> None:
    world = filled(World())
    feed = world.feed(0)
    feed.open()
    world.broker.fail_next("commit", AbortableError("a delivery failed"))
    world.broker.fail_next("send", AbortableError("the queue is full"))
    assert [feed.step(), feed.step()] == [0, 0]
    while not feed.caught_up():
        feed.step()
    feed.close()
    world.feed_all()
    check(world)
    world.broker.fail_next("commit", *[AbortableError("it stays so")] * 50)
    world.write("plain", next(k for k in KEYS if world.plan.homes()[0].home(k) == 0))
    with pytest.raises(AbortableError, match="it stays so"):
        world.feed(0, starts=None).run()


def test_brokers_that_are_away_are_waited_for() -> None:
    world = filled(World())
    feed = world.feed(0)
    seen: list[str] = []
    away = KafkaUnavailableError("no answer")

    class Watching(type(world.ports.stopping)):  # type: ignore[misc]
        def wait(self, timeout: float | None = None) -> bool:
            seen.append(feed.progress.waits_for)
            return False

    world.ports.stopping = Watching()
    world.broker.fail_next("commit", away)
    world.broker.fail_next("fetch", away, away)
    feed.drain_to(feed_ends(world, 0), timeout_s=30)
    assert seen == ["no answer"] * 3
    assert feed.progress.waits_for == ""
    feed.close()
    world.feed_all()
    check(world)


def test_a_drain_ends_at_its_deadline_and_says_what_is_left() -> None:
    world = filled(World())
    held = Transaction()
    here, _there = world.plan.homes()
    world.write("plain", next(k for k in KEYS if here.home(k) == 0), b"open", transaction=held)
    feed = world.feed(0)

    def later(records_max: int, timeout_ms: int) -> Any:
        world.clock.advance(100)
        return fetch(records_max, timeout_ms)

    feed.open()
    assert feed._copying is not None
    reader: Any = feed._copying._reader
    fetch, reader.fetch = reader.fetch, later
    ends = feed_ends(world, 0)
    with pytest.raises(UnfinishedError, match=r"not at the end in 2 s: plain at \d+ of \d+$"):
        feed.drain_to(ends, timeout_s=2)
    assert not feed.caught_up()
    world.broker.end_transaction(held, is_committed=True)
    feed.drain_to(feed_ends(world, 0), timeout_s=2)
    assert feed.caught_up()


def test_a_limit_makes_it_wait_and_a_stop_is_heard() -> None:
    world = filled(World())
    waits: list[float] = []

    class Counting(type(world.ports.stopping)):  # type: ignore[misc]
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waits.append(timeout)
            world.clock.advance(int(timeout * 1000) + 1)
            if feed.caught_up():
                self.set()
            return bool(self.is_set())

    world.ports.stopping = Counting()
    feed = world.feed(0, bytes_per_s=100)
    feed.run()
    size = feed.progress.size
    assert sum(waits) == pytest.approx(size / 100, rel=0.1)
    # A portion is of half a second, by the size of the records before it.
    assert max(waits) < 1
    assert feed.progress.bytes_per_s == pytest.approx(100, rel=0.2)


def test_feeds_run_side_by_side_and_end_together() -> None:
    world = filled(World())
    world.ports.stopping = threading.Event()
    running = RunningFeeds([world.feed(task) for task in range(2)], world.ports.stopping)
    deadline = time.monotonic() + 240

    def awaited(is_true: Callable[[], bool]) -> None:
        while not is_true():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    awaited(lambda: all(one.lag == 0 for one in running.progress))
    running.check()
    assert running.is_working
    world.broker.append(TopicPartition("spend-plain-changelog", 1), None, None)
    awaited(lambda: not running.is_working)
    running.close()
    with pytest.raises(ProcessingError, match="no key"):
        running.check()
    world.broker.log(TopicPartition("spend-plain-changelog", 1)).entries.pop()
    check(world)


def test_a_drain_goes_before_any_limit() -> None:
    world = filled(World())
    world.ports.stopping = threading.Event()
    feeds = [world.feed(task, bytes_per_s=1) for task in range(2)]
    with RunningFeeds(feeds, world.ports.stopping) as running:
        with pytest.raises(UnfinishedError, match=r"in 0 s: task 1: plain at -?\d+ of 10000$"):
            running.drain_to({1: {"plain": 10_000}}, timeout_s=0)
        running.drain_to({task: feed_ends(world, task) for task in range(2)}, timeout_s=60)
        running.check()
        assert not any(feed.is_hurried for feed in feeds)
    check(world)
    with pytest.raises(StoppedError, match="plain at"):
        running.drain_to({1: {"plain": 10_000}}, timeout_s=60)
