"""Crashes in the driver: what was committed stays, what was not is done again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from streamer import (
    App,
    TumblingWindows,
    failpoints,
)
from streamer.errors import TaskCorruptedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import AbortableError
from streamer.testing import TopologyTestDriver
from streamer.testing.trouble import Killed
from tests.unit.testing.test_driver import Sale, sales


@pytest.mark.parametrize("lose_disk", [False, True])
def test_a_crash_takes_back_what_was_not_committed_and_nothing_else(lose_disk: bool) -> None:
    with TopologyTestDriver(sales(), partitions=2, auto_commit=False) as driver:
        driver.send_many("sales", [("ann", Sale("x", 1)), ("bob", Sale("x", 2))])
        driver.commit()
        driver.send("sales", "ann", Sale("x", 4))
        driver.process()
        driver.crash(lose_disk=lose_disk)
        assert dict(driver.store("by-customer")) == {"ann": 1, "bob": 2}
        assert sum(driver.restored.values()) == (3 if lose_disk else 0)
        driver.commit()
        assert dict(driver.store("by-customer")) == {"ann": 5, "bob": 2}
        assert sorted(driver.read("totals")) == [("ann", 1), ("ann", 5), ("bob", 2)]
        assert dict(driver.store("by-shop")) == {"x": 7}


def test_a_crash_behind_the_transaction_replays_its_changes() -> None:
    with TopologyTestDriver(sales(), auto_commit=False) as driver:
        driver.send("sales", "ann", Sale("x", 1))
        driver.commit()
        driver.send("sales", "ann", Sale("x", 2))
        lives = [Killed(loses_disk=False)]

        def kill() -> None:
            if lives:
                raise lives.pop()

        with failpoints.armed("commit.before_store_write", kill):
            driver.commit()
        assert driver.restored[TaskId(0, 0)] == 1
        assert dict(driver.store("by-customer")) == {"ann": 3}
        assert driver.read("totals") == [("ann", 1), ("ann", 3)]


def test_stream_time_and_results_survive_a_lost_disk() -> None:
    app = App("late")
    app.stream("in", key=str, value=int).group_by_key().windowed_by(
        TumblingWindows(timedelta(seconds=10))
    ).count(store="w").to("out")
    with TopologyTestDriver(app) as driver:
        driver.send("in", "a", 1, at=5_000)
        driver.send("in", "b", 1, at=30_000)
        driver.crash(lose_disk=True)
        driver.send("in", "a", 1, at=5_000)
        assert driver.read("out")[-1][0].key == "b"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_a_seed_means_trouble_that_changes_nothing(seed: int, guarantee: str) -> None:
    with TopologyTestDriver(
        sales(), partitions=2, seed=seed, processing_guarantee=guarantee
    ) as driver:
        names = ["ann", "bob", "cat", "ann", "ann", "dan", "bob"]
        driver.send_many("sales", [(name, Sale("x", 1)) for name in names])
        assert dict(driver.store("by-customer")) == {"ann": 3, "bob": 2, "cat": 1, "dan": 1}
        if guarantee == "exactly_once":
            assert driver.store("by-shop")["x"] == 7
        else:  # behind a topic between the steps, whose records may be there twice
            assert driver.store("by-shop")["x"] >= 7
        assert dict(driver.read("totals")) == dict(driver.store("by-customer"))


@pytest.mark.slow
def test_a_seed_does_bring_trouble() -> None:
    lives = []
    for seed in range(3):
        with TopologyTestDriver(sales(), seed=seed) as driver:
            driver.send_many("sales", [("ann", Sale("x", 1))] * 20)
            lives.append(driver._lives)
    assert max(lives) > 2


def test_an_aborted_transaction_is_done_again() -> None:
    with TopologyTestDriver(sales()) as driver:
        driver.broker.fail_next("commit", AbortableError("no"))
        driver.send("sales", "ann", Sale("x", 1))
        assert dict(driver.store("by-customer")) == {"ann": 1}
        assert driver.read("totals") == [("ann", 1)]


def test_a_trimmed_changelog_is_a_failure_and_wipes_nothing() -> None:
    with TopologyTestDriver(sales()) as driver:
        driver.send("sales", "ann", Sale("x", 1))
        driver.broker.delete_before(TopicPartition("sales-by-customer-changelog", 0), 1)
        with pytest.raises(TaskCorruptedError, match="begins at 1"):
            driver.crash(lose_disk=True)
        assert list(driver.failures) == [TaskId(0, 0)]


def test_a_compacted_changelog_restores_the_same_state() -> None:
    with TopologyTestDriver(sales()) as driver:
        for cents in (1, 2, 3):
            driver.send("sales", "ann", Sale("x", cents))
        driver.broker.compact("sales-by-customer-changelog")
        driver.crash(lose_disk=True)
        assert driver.restored[TaskId(0, 0)] == 1
        driver.send("sales", "ann", Sale("x", 4))
        assert driver.store("by-customer")["ann"] == 10
