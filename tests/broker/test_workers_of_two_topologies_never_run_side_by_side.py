"""The code is changed so that task ids mean something else, and workers are restarted one by one.

Workers of both would process the same records, each under ids that the other gives to something
else. So the newcomers end and say why, until none of the others is left.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.broker.workers import Application, Worker
from tests.thorough import thorough

KEYS = [f"k{number}" for number in range(30)]


class Feed:
    """Writes to both inputs; the keys of each are its own, and every count must be exact."""

    def __init__(self, made: Application) -> None:
        self.made = made
        self.sent: Counter[str] = Counter()

    def send(self) -> None:
        for name in ("in", "added"):
            keys = [f"{name}-{key}" for key in KEYS for _ in range(5)]
            self.made.kafka.produce(self.made.topic(name), [(key, "x") for key in keys])
            self.sent.update(keys)

    def check(self, *watch: Worker) -> None:
        made = self.made
        made.wait_until_done(made.topic("in"), made.topic("added"), watch=watch)
        last: dict[str, int] = {}
        for one in made.kafka.read(made.topic("out")):
            key, count = (one.key or b"").decode(), json.loads(one.value or b"null")
            assert count > last.get(key, 0), f"{key} fell back to {count}"
            last[key] = count
        assert last == dict(self.sent)


@pytest.fixture
def made(application: Any) -> Application:
    made: Application = application("changing.pair", inputs=("in", "added"), commit_interval_ms=100)
    return made


def refused(made: Application, host: str) -> None:
    worker = made.worker(host)
    assert worker.wait() == 1
    assert "the running workers have another topology: subtopology 0 reads" in worker.error
    assert "hint: stop them all before a worker of this topology starts" in worker.error
    assert worker.started() == {}


def test_a_rolling_restart_with_another_order_is_refused_until_all_are_stopped(
    made: Application,
) -> None:
    feed = Feed(made)
    old = {host: made.worker(host) for host in "ab"}
    for worker in old.values():
        worker.wait_started(2)
    feed.send()
    made.module = "changing.reversed_pair"
    # Also where the one that was the controller is replaced first.
    first = next(
        host for host, one in old.items() if "this worker is the controller" in one.messages
    )
    other = "ab".replace(first, "")
    assert old[first].stop() == 0
    feed.send()
    refused(made, first)
    feed.send()
    refused(made, first)
    feed.check(old[other])

    assert old[other].stop() == 0
    new = [made.worker(host) for host in "ab"]
    feed.send()
    feed.check(*new)


@thorough
def test_workers_that_were_killed_are_in_nobodys_way(made: Application) -> None:
    feed = Feed(made)
    old = [made.worker(host) for host in "ab"]
    for worker in old:
        worker.wait_started(2)
    feed.send()
    feed.check(*old)
    feed.send()
    for worker in old:
        worker.kill()
    made.module = "changing.reversed_pair"
    new = made.worker("c")
    new.wait_started(4)
    feed.check(new)
