"""The broker stands still for longer than a session: nobody fails, every task is owned again; and
whoever copies changelogs waits, hears a stop at once, and goes on with each record once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamer import failpoints
from streamer.feed.feed import Feed
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import KafkaPorts
from streamer.feed.running import RunningFeeds
from streamer.ids import Layout
from streamer.sandbox import Sandbox
from streamer.split.homes import Homes
from streamer.split.move import Move
from streamer.store.keys import row
from tests.broker.cluster import SESSION_MS, cluster_of
from tests.broker.conftest import Kafka, Names
from tests.broker.feeding import config
from tests.thorough import thorough
from tests.unit.feed.rig import PLAIN

# Brokers stand still for as long as the test lets them: without the stop it would be for ever.
HEARD_S = 30.0


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@thorough
def test_the_cluster_comes_back_by_itself(own: Sandbox, names: Names, tmp_path: Path) -> None:
    kafka = Kafka(own.bootstrap_servers)
    results = names.topic("results")
    kafka.create(results, partitions=1)
    with cluster_of(
        own.bootstrap_servers, names.application, results=results, log=tmp_path / "log"
    ) as cluster:
        pair = cluster.start_two()
        own.pause()
        until = time.monotonic() + 2 * SESSION_MS / 1000
        while time.monotonic() < until:
            assert all(each.child.poll() is None for each in pair)
            time.sleep(0.1)
        own.resume()
        third = cluster.start("w3")
        cluster.wait_shared(*pair, third, timeout=360)
        for each in (*pair, third):
            each.do("open", "opened", "fenced", timeout=360)
            each.do("commit", "committed", "nothing to commit", "fenced", timeout=360)
            assert not [event for event in each.events if event["event"] == "failed"]
            # It was lost meanwhile, and is back once all that was said then is heard.
            until = time.monotonic() + 90
            while not each.do("lease", "lease")["holds"]:
                assert time.monotonic() < until, f"{each.worker} answers as a copy for ever"
                time.sleep(0.1)


@thorough
def test_a_feed_that_is_held_up_in_its_commit_hears_a_stop(
    own: Sandbox, names: Names, wait_until: Callable[..., None]
) -> None:
    kafka = Kafka(own.bootstrap_servers)
    plan = FeedPlan.of_move(
        Move(
            operation="op-1",
            application=names.application,
            subtopology=0,
            source_layout=Layout(1),
            source=Homes(1, 1),
            target_layout=Layout(2),
            target=Homes(2, 2),
            specs=(PLAIN,),
        )
    )
    (store,) = plan.stores
    kafka.create(store.source, partitions=1)
    kafka.create(store.target, partitions=2)
    kafka.produce(store.source, [(f"key-{number}", row(1, b"v")) for number in range(500)])

    def made() -> tuple[Feed, threading.Event]:
        ports = KafkaPorts(config(plan, own.bootstrap_servers), stopping=threading.Event())
        return Feed(plan, 0, ports, starts={"plain": 0}), ports.stopping

    reached = threading.Event()

    def go_away() -> None:
        own.pause()
        reached.set()

    feed, stopping = made()
    feed.open()
    with failpoints.armed("feed.before_commit", go_away):
        running = RunningFeeds([feed], stopping)
        assert reached.wait(360)
    running.close()
    wait_until(lambda: not running.is_working, what="the end of the feed", timeout=HEARD_S)
    running.check()
    assert feed.state.totals.rows == 0

    # One that is not told to stop says what it waits for, and goes on by itself.
    feed, stopping = made()
    running = RunningFeeds([feed], stopping)
    wait_until(lambda: feed.progress.waits_for, what="word of what it waits for", timeout=360)
    own.resume()
    wait_until(lambda: feed.progress.lag == 0, what="no lag")
    assert feed.progress.waits_for == ""
    running.close()
    running.check()
    assert sorted(one.key or b"" for one in kafka.read(store.target)) == sorted(
        f"key-{number}".encode() for number in range(500)
    )
