"""Ranges in process: rows as they were at the call, read as they are needed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from streamer import ProcessingError, Record, Store, WindowStore
from streamer.errors import MisuseError
from streamer.ids import TopicPartition
from streamer.kafka.api import AbortableError
from streamer.testing import TopologyTestDriver
from tests.unit.engine.test_process_stores import app_of, ms


def test_a_range_is_that_of_its_call_whatever_is_done_meanwhile() -> None:
    log: list[Any] = []

    def use(record: Record, context: Any) -> None:
        store, windows = context.store("s"), context.store("w")
        if record.value == 0:
            for number, key in enumerate("bdf"):
                store.put(key, number)
                windows.put(key, number, number)
            return
        store.put("e", 9)
        store.delete("d")
        rows, two, other = store.range(), store.prefix("e"), windows.between(0, 99)
        store.put("e", 10)
        windows.put("x", 7, 1)
        found = []
        for key, value in rows:
            found.append((key, value))
            store.put(key, value + 100)
            store.put(key + "2", 1)
            store.delete("f")
        log.extend([found, list(two), list(other), list(store.range())])

    stores = (Store("s", str, int), WindowStore("w", key=str, value=int, size=ms(100)))
    with TopologyTestDriver(app_of(use, *stores)) as driver:
        driver.send("in", "k", 0, at=1)
        driver.send("in", "k", 1, at=1)
    assert log == [
        [("b", 0), ("e", 9), ("f", 2)],
        [("e", 9)],
        [(0, "b", 0), (1, "d", 1), (2, "f", 2)],
        [("b", 100), ("b2", 1), ("e", 109), ("e2", 1), ("f2", 1)],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("ttl", [None, timedelta(days=1)])
def test_a_range_reads_no_more_than_is_asked_for(ttl: timedelta | None) -> None:
    peaks: list[int] = []

    def use(record: Record, context: Any) -> None:
        store = context.store("s")
        if record.value:
            store.put(record.key, "x" * 1_000)
            return
        tracemalloc.start()
        try:
            assert next(store.range())[0] == "00000"
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()

    with TopologyTestDriver(app_of(use, Store("s", str, str, ttl=ttl))) as driver:
        driver.send_many("in", [(f"{number:05d}", 1) for number in range(10_000)])
        driver.send("in", "k", 0)
    assert 0 < peaks[0] < 1_000_000


@pytest.mark.parametrize("auto_commit", [True, False])
@pytest.mark.parametrize("is_begun", [True, False])
def test_rows_belong_to_the_call_that_asked_for_them(auto_commit: bool, is_begun: bool) -> None:
    kept: list[Iterator[Any]] = []

    def use(record: Record, context: Any) -> None:
        context.store("s").put(record.key, record.value)
        if not kept:
            kept.append(context.store("s").range())
            if is_begun:
                next(kept[0])
            return
        next(kept[0])

    app = app_of(use, Store("s", str, int))
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        driver.send("in", "a", 1)
        driver.broker.append(TopicPartition("in", 0), b"b", b"2", timestamp_ms=2)
        with pytest.raises(ProcessingError, match="rows of store 's' were read on") as failed:
            driver.commit()
    assert isinstance(failed.value.__cause__, MisuseError)


def test_an_iterator_that_is_kept_is_harmless_after_an_abort_and_a_close() -> None:
    kept: list[Iterator[Any]] = []

    def use(record: Record, context: Any) -> None:
        store = context.store("s")
        store.put(record.key, record.value)
        kept.append(store.range())
        next(kept[-1])

    with TopologyTestDriver(app_of(use, Store("s", str, int))) as driver:
        driver.send_many("in", [(f"{number:03d}", number) for number in range(50)])
        driver.broker.fail_next("commit", AbortableError("no"))
        driver.send("in", "z", 1)
        assert len(driver.store("s")) == 51
        driver.crash()
        assert len(driver.store("s")) == 51
    assert len(kept) == 52
    for rows in kept[:-1]:
        with pytest.raises(MisuseError, match="were read on"):
            next(rows)
