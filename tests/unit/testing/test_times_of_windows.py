"""Times of windows through commits, crashes and lost disks, as a whole worker has them."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, Store, TumblingWindows, failpoints
from streamer.failpoints import InjectedError
from streamer.ids import TaskId
from streamer.task.metadata import Metadata, store_mark
from streamer.testing import TopologyTestDriver
from streamer.topology.stores import StoreKind

TEN = TumblingWindows(timedelta(minutes=10), grace=timedelta(minutes=10))


def readings() -> App:
    """Readings of devices, which come late but in order."""
    app = App("readings")
    devices = app.table("devices", key=str, value=str, store="devices")
    app.stream("in", key=str, value=int).join(
        devices, lambda value, _device: value, value=int
    ).group_by_key().windowed_by(TEN).count(store="w", emit="final").to("out")
    return app


def metadata(driver: TopologyTestDriver, application: str) -> list[Metadata]:
    committed = driver._stage.broker.reader(application).committed(
        driver._life.tasks[TaskId(0, 0)].partitions
    )
    return [Metadata.decode(one.metadata) for one in committed.values()]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_an_update_of_a_device_costs_no_reading(seed: int, guarantee: str) -> None:
    """Commits and crashes wherever they fall; the disk is lost as well."""
    chance = random.Random(seed)
    with TopologyTestDriver(
        readings(), auto_commit=False, processing_guarantee=guarantee
    ) as driver:
        driver.send("devices", "x", "m1", at="2026-01-01T00:00Z")
        for minute in range(60):
            driver.send("in", "x", 1, at=f"2026-01-01T10:{minute:02}Z")
            if minute == 20:
                driver.send("devices", "x", "m2", at="2026-01-01T11:20Z")
            driver.process()
            if chance.random() < 0.3:
                driver.commit()
            if chance.random() < 0.1:
                driver.crash(lose_disk=chance.random() < 0.5)
        driver.commit()
        assert [count for _key, count in driver.read("out")] == [10, 10, 10, 10]


@pytest.mark.parametrize("lose_disk", [False, True])
@pytest.mark.parametrize("table_last", [False, True])
def test_what_was_late_stays_late_and_nothing_becomes_so(lose_disk: bool, table_last: bool) -> None:
    with TopologyTestDriver(readings()) as driver:
        driver.send("devices", "x", "m1", at="2026-01-01T00:00Z")
        driver.send("in", "x", 1, at="2026-01-01T10:00Z")
        driver.send("in", "x", 1, at="2026-01-01T10:25Z")
        if table_last:
            driver.send("devices", "x", "m2", at="2026-01-02T00:00Z")
        assert len(driver.read("out")) == 1
        for _ in range(2):
            driver.crash(lose_disk=lose_disk)
            driver.send("in", "x", 1, at="2026-01-01T10:01Z")
            driver.send("in", "x", 1, at="2026-01-01T10:12Z")
            assert len(driver.read("out")) == 1
        driver.send("in", "x", 1, at="2026-01-01T10:40Z")
        assert [count for _key, count in driver.read("out")] == [1, 2, 1]


@pytest.mark.parametrize("point", ["commit.before_store_write", "commit.before_transaction_commit"])
@pytest.mark.parametrize("lose_disk", [False, True])
def test_records_that_are_processed_again_find_the_time_of_the_commit(
    point: str, lose_disk: bool
) -> None:
    with TopologyTestDriver(readings(), auto_commit=False) as driver:
        driver.send("devices", "x", "m1", at="2026-01-02T00:00Z")
        driver.process()
        driver.send("in", "x", 1, at="2026-01-01T10:00Z")
        driver.process()
        driver.commit()
        driver.send("in", "x", 1, at="2026-01-01T10:01Z")
        driver.send("in", "x", 1, at="2026-01-01T12:00Z")
        driver.process()
        with pytest.raises(InjectedError), failpoints.armed(point, "error"):
            driver.commit()
        driver.crash(lose_disk=lose_disk)
        driver.process()
        driver.commit()
        assert [count for _key, count in driver.read("out")] == [2]


def ticking() -> App:
    """A punctuation by the wall clock that changes a count, which windows count again."""
    app = App("ticking")
    counts = app.stream("in", key=str, value=int).group_by_key().count(store="n")
    counts.stream().group_by_key().windowed_by(TumblingWindows(timedelta(seconds=10))).count(
        store="w", retention=timedelta(days=1)
    ).to("out")

    class Tick:
        def open(self, context: Any) -> None:
            self.context = context
            context.schedule(timedelta(minutes=1), self.tick, by="wall")

        def process(self, record: Any, context: Any) -> None:
            pass

        def tick(self, _now_ms: int) -> None:
            store = self.context.store("n")
            store.put("tick", (store.get("tick") or 0) + 1)

    app.stream("other", key=str, value=int).process(Tick, stores=[Store("n")], value=int).to("no")
    return app


@pytest.mark.parametrize("lose_disk", [False, True])
def test_a_time_that_moved_without_a_record_is_committed_as_well(lose_disk: bool) -> None:
    with TopologyTestDriver(ticking(), start=60_000) as driver:
        driver.advance(minutes=1)
        driver.advance(minutes=1)
        assert [found.stream_time_ms for found in metadata(driver, "ticking")] == [-1, -1]
        mark = store_mark("w", StoreKind.WINDOW)
        assert [found.time_of(mark) for found in metadata(driver, "ticking")] == [180_000] * 2
        driver.crash(lose_disk=lose_disk)
        driver.send("in", "a", 1, at=5_000)
        assert [(key.key, value) for key, value in driver.read("out")] == [("tick", 1)]
