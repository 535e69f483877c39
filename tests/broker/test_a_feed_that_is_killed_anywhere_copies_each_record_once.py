"""Changelogs of two tasks are fed to those of three, and back, by processes that are killed at all
failpoints. Every committed record arrives once, in its key's order, with its headers and time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from streamer.errors import ChangelogTrimmedError, FencedError
from streamer.failpoints import VARIABLE
from streamer.feed.feed import Feed
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import KafkaPorts
from streamer.feed.proof import WHILE_FED, prove, states, take_cut
from streamer.feed.running import RunningFeeds
from streamer.ids import Layout, TopicPartition
from streamer.split.homes import Homes
from streamer.split.move import Move
from streamer.store.keys import row, window_key
from streamer.topology.stores import StoreKind
from tests.broker.conftest import Kafka, Names, Read
from tests.broker.feeding import config
from tests.broker.workers import KILLED
from tests.unit.feed.rig import PLAIN, WINDOWS

POINTS = ["feed.before_produce", "feed.after_produce", "feed.before_commit", "feed.after_commit"]
KEYS = [f"customer-{number}".encode() for number in range(50)]
ROUNDS = 60
Changes = dict[bytes, list[tuple[object, ...]]]


class Shelf:
    """The old and the new changelogs of one application, and what writes into the old ones."""

    def __init__(self, kafka: Kafka, names: Names) -> None:
        self.kafka = kafka
        self.plan = FeedPlan.of_move(
            Move(
                operation="op-1",
                application=names.application,
                subtopology=0,
                source_layout=Layout(1),
                source=Homes(2, 2),
                target_layout=Layout(2),
                target=Homes(3, 3),
                specs=(PLAIN, WINDOWS),
            )
        )
        fed = {name.replace(".", "_"): value for name, value in WHILE_FED.items()}
        for store in self.plan.stores:
            # Times as they are written, which a changelog's own setting would hide.
            kafka.create(store.source, partitions=2)
            kafka.create(store.target, partitions=3, **fed)
        self.turn = 0

    def ports(self) -> KafkaPorts:
        made = config(self.plan, self.kafka.bootstrap_servers)
        return KafkaPorts(made, stopping=threading.Event(), shares=2)

    def write(self, rounds: int = ROUNDS) -> None:
        """In transactions of an old worker, every third of which is taken back."""
        here, _there = self.plan.homes()
        producer = Producer({**self.kafka.settings, "transactional.id": f"{self.plan.application}"})
        producer.init_transactions(30)
        for _ in range(rounds):
            self.turn += 1
            producer.begin_transaction()
            for number, key in enumerate(KEYS):
                for store in self.plan.stores:
                    is_window = store.kind is StoreKind.WINDOW
                    stored = row(number, b"%06d" % self.turn, store.kind)
                    producer.produce(
                        store.source,
                        None if (self.turn + number) % 5 == 0 else stored,
                        window_key(number, key) if is_window else key,
                        here.home(key),
                        timestamp=1_700_000_000_000 + self.turn,
                        headers=[("turn", b"%d" % self.turn)] if number % 2 else None,
                    )
            if self.turn % 3:
                producer.commit_transaction(30)
            else:
                # A transaction that has not reached the broker yet is none to take back there.
                producer.flush(30)
                producer.abort_transaction(30)

    def feed(self, task: int, *, failpoints: str = "") -> int:
        """A process that feeds; how it ended."""
        starts = dict.fromkeys((store.name for store in self.plan.stores), 0)
        command = [sys.executable, "-m", "tests.broker.feeding", self.kafka.bootstrap_servers]
        command += [self.plan.encode().decode(), str(task), json.dumps(starts)]
        env = {**os.environ, VARIABLE: failpoints}
        return subprocess.run(command, env=env, timeout=480, check=False).returncode

    def changes(self, *, is_new: bool) -> dict[str, Changes]:
        """By store and key, all that is committed, in its order."""
        found: dict[str, Changes] = {}
        for store in self.plan.stores:
            by_key: Changes = defaultdict(list)
            for one in self.kafka.read(store.target if is_new else store.source):
                assert one.key is not None
                by_key[one.key].append(_what(one))
            found[store.name] = by_key
        return found


def _what(one: Read) -> tuple[object, ...]:
    return one.value, one.timestamp_ms, one.headers


@pytest.fixture
def shelf(kafka: Kafka, names: Names) -> Shelf:
    return Shelf(kafka, names)


def test_there_and_back(shelf: Shelf, wait_until: Callable[..., None]) -> None:
    plan, ports = shelf.plan, shelf.ports()
    shelf.write()
    begin = take_cut(plan, ports, timeout_s=120)
    for number, point in enumerate(POINTS):
        assert shelf.feed(0, failpoints=f"{point}=kill@{number % 2 + 2}") == KILLED
        shelf.write(6)
    fed = states(plan, ports)[0].totals.rows
    assert 0 < fed < sum(map(len, shelf.changes(is_new=False)["plain"].values()))

    # The rest, while more is written.
    starts = dict.fromkeys(("plain", "windows"), 0)
    feeds = [Feed(plan, task, ports, starts=starts) for task in range(2)]
    with RunningFeeds(feeds, ports.stopping) as running:
        shelf.write(10)
        wait_until(lambda: all(one.lag == 0 for one in running.progress), what="no lag")
        running.check()
        began = time.monotonic()
    assert time.monotonic() - began < 20
    now = shelf.ports()
    for task in range(2):
        places = {one.name: TopicPartition(one.source, task) for one in plan.stores}
        ends = now.ends(places.values())
        with Feed(plan, task, now) as feed:
            feed.drain_to({one: ends[place] for one, place in places.items()}, timeout_s=120)
            assert feed.caught_up()
    before = shelf.changes(is_new=False)
    assert shelf.changes(is_new=True) == before
    _here, there = plan.homes()
    for one in shelf.kafka.read(plan.stores[0].target):
        assert one.partition == there.home(one.key or b"")
    assert prove(plan, now, begin, specs=(), timeout_s=120) == []

    # Back: the old changelogs have everything once more, behind what they had.
    back, last = plan.reversed, before["plain"]
    begins = {store.name: 0 for store in back.stores}
    cut = take_cut(back, now, timeout_s=120)
    feeds = [Feed(back, task, now, starts=begins) for task in range(3)]
    with RunningFeeds(feeds, now.stopping) as running:
        wait_until(lambda: all(one.lag == 0 for one in running.progress), what="no lag")
        running.check()
    after = shelf.ports()
    assert prove(back, after, cut, timeout_s=120) == []
    again = shelf.changes(is_new=False)
    assert again == {
        store: {key: rows * 2 for key, rows in by_key.items()} for store, by_key in before.items()
    }
    assert {key: rows[-1] for key, rows in again["plain"].items()} == {
        key: rows[-1] for key, rows in last.items()
    }


def test_a_second_feed_ends_the_first_and_a_trim_is_told(shelf: Shelf) -> None:
    shelf.write(4)
    starts = dict.fromkeys(("plain", "windows"), 0)
    first, second = (Feed(shelf.plan, 0, shelf.ports(), starts=starts) for _ in range(2))
    while not first.caught_up():
        first.step()
    second.open()
    shelf.write(2)
    with pytest.raises(FencedError):
        first.run()
    first.close()
    while not second.caught_up():
        second.step()
    second.close()
    shelf.write(2)
    place = TopicPartition(shelf.plan.stores[0].source, 0)
    end = shelf.kafka.requests.ends([place], "read_uncommitted")[place]
    shelf.kafka.requests.delete_before({place: end})
    with pytest.raises(ChangelogTrimmedError, match=f"the topic begins at {end}: "):
        second.step()
