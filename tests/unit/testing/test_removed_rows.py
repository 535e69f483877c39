"""A row that follows a removal has its own time, whether or not a commit lies between the two."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, SessionWindows, Store, TumblingWindows
from streamer.testing import TopologyTestDriver

TTL = timedelta(seconds=10)
START = "2026-01-01T00:00:{:02}Z"


def processed() -> App:
    def step(record: Any, context: Any) -> None:
        rows = context.store("rows")
        if record.value < 0:
            rows.delete(record.key)
            context.forward(value=-1)
            return
        count = (rows.get(record.key) or 0) + 1
        rows.put(record.key, count)
        context.forward(value=count)

    app = App("processed")
    stream = app.stream("in", key=str, value=int)
    stream.process(step, stores=[Store("rows", key=str, value=int, ttl=TTL)], value=int).to("out")
    return app


def aggregated(emit: str) -> App:
    def step(_key: str, value: int, total: int) -> int | None:
        return None if value < 0 else total + value

    app = App("aggregated")
    grouped = app.stream("in", key=str, value=int).group_by_key()
    store = Store("rows", value=int, ttl=TTL)
    grouped.aggregate(int, step, store=store, emit=emit).stream().to("out")
    return app


def joined() -> App:
    app = App("joined")
    table = app.table("in", key=str, value=int, store=Store("rows", ttl=TTL))
    other = app.stream("other", key=str, value=int)
    other.left_join(table, lambda _value, row: -7 if row is None else row, value=int).to("out")
    return app


def final_state(app: App, steps: list[tuple[int | None, int]], *, commits: bool) -> dict[Any, Any]:
    """The rows and their times after these (value, second), with a commit behind each or none."""
    with TopologyTestDriver(app, auto_commit=commits) as driver:
        for value, second in steps:
            driver.send("in", "k", value, at=START.format(second))
        driver.commit()
        return dict(driver.store("rows"))


@pytest.mark.parametrize("commits", [True, False])
def test_a_row_put_behind_a_removal_expires_by_its_own_time(commits: bool) -> None:
    with TopologyTestDriver(processed(), auto_commit=commits) as driver:
        for value, second in ((1, 10), (-1, 20), (1, 12), (1, 23)):
            driver.send("in", "k", value, at=START.format(second))
        driver.commit()
        assert [value for _key, value in driver.read("out")] == [1, -1, 1, 1]


@pytest.mark.parametrize("commits", [True, False])
def test_a_table_row_behind_a_tombstone_expires_by_its_own_time(commits: bool) -> None:
    with TopologyTestDriver(joined(), auto_commit=commits) as driver:
        for value, second in ((1, 10), (None, 20), (5, 12)):
            driver.send("in", "k", value, at=START.format(second))
        driver.send("other", "k", 0, at=START.format(23))
        driver.commit()
        assert driver.read("out") == [("k", -7)]


@pytest.mark.parametrize("emit", ["commit", "every"])
@pytest.mark.parametrize("commits", [True, False])
def test_an_aggregate_behind_none_expires_by_its_own_time(emit: str, commits: bool) -> None:
    steps = [(1, 10), (-1, 20), (5, 12), (7, 23)]
    assert final_state(aggregated(emit), steps, commits=commits) == {"k": 7}


@pytest.mark.parametrize("make", [processed, joined])
def test_a_row_that_was_not_removed_keeps_the_greatest_time(make: Callable[[], App]) -> None:
    steps = [(5, 20), (5, 12)]
    with TopologyTestDriver(make(), auto_commit=False) as driver:
        for value, second in steps:
            driver.send("in", "k", value, at=START.format(second))
        if make is joined:
            driver.send("other", "k", 0, at=START.format(23))
            assert driver.read("out") == []
            driver.commit()
            assert driver.read("out") == [("k", 5)]
        else:
            driver.send("in", "k", 5, at=START.format(29))
            driver.commit()
            assert [value for _key, value in driver.read("out")] == [1, 2, 3]


@pytest.mark.parametrize("commits", [True, False])
def test_a_process_step_may_delete_in_the_store_of_an_aggregation(commits: bool) -> None:
    app = App("shared")
    store = Store("sums", value=int)
    stream = app.stream("in", key=str, value=int)
    stream.group_by_key().aggregate(int, lambda _key, value, total: total + value, store=store)

    def forget(record: Any, context: Any) -> None:
        if record.value == 0:
            context.store("sums").delete(record.key)

    stream.process(forget, stores=[store], value=int).to("out")
    with TopologyTestDriver(app, auto_commit=commits) as driver:
        for value in (5, 6, 0, 4, 7):
            driver.send("in", "k", value)
        driver.commit()
        assert driver.store("sums")["k"] == 11
        assert driver.failures == {}


@pytest.mark.parametrize("lose_disk", [True, False])
def test_a_row_past_its_ttl_is_not_back_after_a_crash(lose_disk: bool) -> None:
    app = App("expired")
    grouped = app.stream("in", key=str, value=int).group_by_key()
    # Rows of a ttl are removed a part of it late.
    grouped.count(store=Store("rows", ttl=timedelta(seconds=30)))
    with TopologyTestDriver(app, auto_commit=False) as driver:
        for key, second in (("old", 0), ("new", 30)):
            driver.send("in", key, 1, at=START.format(second))
            driver.commit()
        assert dict(driver.store("rows")) == {"new": 1}
        driver.crash(lose_disk=lose_disk)
        assert dict(driver.store("rows")) == {"new": 1}
        with pytest.raises(KeyError):
            driver.store("rows").timestamp_ms("old")


@pytest.mark.parametrize("windows", [TumblingWindows(TTL), SessionWindows(TTL)])
def test_windows_past_their_retention_are_not_there(windows: Any) -> None:
    app = App("retained")
    app.stream("in", key=str, value=int).group_by_key().windowed_by(windows).count(store="w")
    with TopologyTestDriver(app) as driver:
        # More than one commit removes.
        driver.send_many("in", [(f"k{number}", 1, START.format(0)) for number in range(1_100)])
        [*_others, old] = driver.store("w")
        driver.send("in", "new", 1, at=START.format(59))
        view = driver.store("w")
        assert [(key.key, count) for key, count in view.items()] == [("new", 1)]
        assert old not in view
        assert len(view) == 1
