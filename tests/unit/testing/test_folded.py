"""Fewer tasks than partitions give the same results, whatever their number and whatever happens."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, TumblingWindows
from streamer.errors import TopologyError
from streamer.ids import TaskId, TopicPartition
from streamer.testing import TopologyTestDriver, check, driver_history, per_key

PARTITIONS = 6
DIVISORS = (1, 2, 3)


def shop() -> App:
    """State by key, state behind a re-keyed topic, a join, and windows that nothing is late for."""
    app = App("shop")
    sales = app.stream("sales", key=str, value=int)
    prices = app.table("prices", key=str, value=int, store="prices")
    sales.group_by_key().aggregate(
        lambda: 0, lambda key, value, before: before + value, value=int, store="totals"
    ).to("totals-out")
    sales.join(prices, lambda count, price: count * price).to("priced")
    sales.group_by(lambda key, value: str(value % 5), name="by-size").count(store="sizes")
    sales.group_by_key().windowed_by(
        TumblingWindows(timedelta(seconds=10), grace=timedelta(days=1))
    ).count(store="windows")
    return app


def results(tasks: int, *, seed: int | None) -> dict[str, Any]:
    chosen = random.Random(7)
    keys = [f"key-{number}" for number in range(20)]
    with TopologyTestDriver(shop(), partitions=PARTITIONS, tasks=tasks, seed=seed) as driver:
        driver.send_many("prices", [(key, len(key)) for key in keys])
        at_ms = driver.now_ms
        sent = []
        for number in range(120):
            at_ms += chosen.randrange(500)
            sent.append((chosen.choice(keys), number, at_ms))
        for start in range(0, len(sent), 40):
            driver.send_many("sales", sent[start : start + 40])
        assert not driver.failures
        counted = {task.subtopology for task in driver.restored}
        assert all(driver.layout.task_count(number) == tasks for number in counted)
        verdict = check(
            driver_history(driver, inputs="sales", output="totals-out", store="totals"),
            per_key(int, lambda _key, value, before: before + value),
        )
        assert verdict, str(verdict)
        priced: dict[str, list[int]] = {}
        for key, value in driver.read("priced"):
            priced.setdefault(key, []).append(value)
        names = ("totals", "sizes", "windows")
        stores = {name: dict(driver.store(name)) for name in names}
        return stores | {"priced": priced}


@pytest.mark.slow
def test_every_number_of_tasks_gives_the_same_results_whatever_happens() -> None:
    wanted = results(PARTITIONS, seed=None)
    assert len(wanted["totals"]) == 20
    assert sum(wanted["sizes"].values()) == 120
    for tasks in DIVISORS:
        # The seed kills it, takes its disks and aborts its transactions, at places of its choice.
        assert results(tasks, seed=tasks) == wanted, f"{tasks} tasks"


def test_a_task_goes_on_in_each_of_its_partitions_after_its_disk_is_lost() -> None:
    """Every partition has a position of its own, and the latest stream time of them is the task's:
    those that stood still longest say an earlier one."""
    app = App("late")
    app.stream("in", key=str, value=int).group_by_key().windowed_by(
        TumblingWindows(timedelta(seconds=10))
    ).count(store="w").to("out")
    with TopologyTestDriver(app, partitions=4, tasks=1) as driver:
        driver.send("in", "a", 1, at=5_000, partition=0)
        driver.send("in", "b", 1, at=30_000, partition=3)
        driver.send("in", "c", 1, at=31_000, partition=1)
        driver.crash(lose_disk=True)
        driver.send("in", "a", 1, at=6_000, partition=0)  # too late for its window, as before
        assert [key.key for key, _value in driver.read("out")] == ["a", "b", "c"]
        group = driver.broker.groups["late"]
        assert {place: one.position for place, one in group.items()} == {
            TopicPartition("in", 0): 2,
            TopicPartition("in", 1): 1,
            TopicPartition("in", 2): 0,
            TopicPartition("in", 3): 1,
        }


def test_partitions_of_one_task_are_taken_in_the_order_of_time() -> None:
    app = App("order")
    app.stream("in", key=str, value=int).to("out")
    with TopologyTestDriver(app, partitions=4, tasks=2, auto_commit=False) as driver:
        for at_ms in (30, 10, 50):
            driver.send("in", "a", at_ms, at=at_ms, partition=0)
        for at_ms in (20, 40):
            driver.send("in", "b", at_ms, at=at_ms, partition=2)
        driver.commit()
        # 10 is behind 30 in its partition, and goes with it: the order of a partition stays.
        assert [value for _key, value in driver.read("out")] == [20, 30, 10, 40, 50]


def test_a_number_that_parts_keys_is_refused() -> None:
    with pytest.raises(TopologyError, match="5 does not divide"):
        TopologyTestDriver(shop(), partitions=PARTITIONS, tasks=5)


def test_the_state_of_a_folded_task_comes_back_from_its_own_changelog() -> None:
    app = App("own")
    app.stream("in", key=str, value=int).group_by_key().count(store="counts")
    with TopologyTestDriver(app, partitions=4, tasks=2) as driver:
        driver.send_many("in", [(f"k{number}", 1) for number in range(20)])
        assert driver.broker.topics["own-counts-changelog.layout-2"] == 2
        assert "own-counts-changelog" not in driver.broker.topics
        driver.crash(lose_disk=True)
        assert sum(driver.restored.values()) == 20
        assert set(driver.restored) == {TaskId(0, 0), TaskId(0, 1)}
        assert dict(driver.store("counts")) == {f"k{number}": 1 for number in range(20)}
