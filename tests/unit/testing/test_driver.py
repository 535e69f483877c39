"""The driver: what a test of an application may rely on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streamer import (
    App,
    ConfigError,
    Count,
    HoppingWindows,
    ProcessingError,
    Record,
    SessionWindows,
    Store,
    StreamerError,
    TopologyError,
    TumblingWindows,
    Windowed,
)
from streamer.testing import TopologyTestDriver

HOUR = timedelta(hours=1)


@dataclass
class Sale:
    shop: str
    cents: int


def add(_key: str, sale: Sale, total: int) -> int:
    return total + sale.cents


def sales() -> App:
    app = App("sales")
    stream = app.stream("sales", key=str, value=Sale)
    stream.group_by_key().aggregate(int, add, store="by-customer").to("totals")
    by_shop = stream.group_by(lambda _key, sale: sale.shop, key=str, name="by-shop")
    by_shop.aggregate(int, add, store="by-shop").to("shops")
    return app


def windowed() -> App:
    app = App("windows")
    grouped = app.stream("in", key=str, value=Sale).group_by_key()
    grouped.windowed_by(TumblingWindows(HOUR)).count(store="hours").to("out")
    grouped.windowed_by(SessionWindows(timedelta(minutes=5))).aggregate(
        {"n": Count()}, store="sessions"
    )
    return app


# -- records in and out ----------------------------------------------------------------------------


def test_every_send_is_processed_and_committed_at_once() -> None:
    with TopologyTestDriver(sales(), partitions=3) as driver:
        driver.send("sales", "ann", Sale("north", 5))
        assert driver.read("totals") == [("ann", 5)]
        driver.send("sales", "ann", Sale("south", 7))
        assert driver.read("totals") == [("ann", 5), ("ann", 12)]
        assert dict(driver.store("by-customer")) == {"ann": 12}


def test_repartition_topics_flow_through() -> None:
    with TopologyTestDriver(sales(), partitions={"sales": 3}) as driver:
        for number, name in enumerate(["ann", "bob", "cat", "dan", "eve"]):
            driver.send("sales", name, Sale("north" if number % 2 else "south", 1 << number))
        assert dict(driver.store("by-shop")) == {"north": 0b01010, "south": 0b10101}
        assert dict(driver.read("shops")) == {"north": 0b01010, "south": 0b10101}
        through = driver.read("by-shop")
        assert [key for key, _sale in through] == ["south", "north", "south", "north", "south"]
        assert driver.read("sales-by-shop-repartition") == through
        assert {record.partition for record in driver.read_records("sales")} == {0, 2}


def test_records_may_wait_for_one_commit() -> None:
    with TopologyTestDriver(sales(), auto_commit=False) as driver:
        driver.send("sales", "ann", Sale("north", 5))
        driver.send("sales", "ann", Sale("north", 6))
        assert driver.read("totals") == []
        driver.commit()
        assert driver.read("totals") == [("ann", 11)]


def test_many_records_are_one_batch_with_times_of_their_own() -> None:
    with TopologyTestDriver(windowed()) as driver:
        driver.send_many(
            "in",
            [
                ("a", Sale("x", 1), "2026-01-01T00:10Z"),
                ("a", Sale("x", 1), datetime(2026, 1, 1, 0, 20, tzinfo=UTC)),
                ("a", Sale("x", 1)),
            ],
        )
        assert [record.timestamp_ms for record in driver.read_records("in")] == [
            1767226200000,
            1767226800000,
            1767225600000,
        ]
        assert len(driver.read("out")) == 1


def test_records_carry_what_they_were_sent_with() -> None:
    app = App("copy")
    app.stream("in", key=str, value=Sale).map_values(lambda sale: sale.cents, value=int).to("out")
    with TopologyTestDriver(app, partitions={"in": 2, "out": 2}) as driver:
        driver.send("in", "k", Sale("x", 3), at=1234, headers=[("h", b"v")], partition=1)
        (record,) = driver.read_records("out")
        assert (record.key, record.value, record.timestamp_ms) == ("k", 3, 1234)
        assert record.headers == [("h", b"v")]
        assert record.offset == 0
        assert driver.read_records("in")[0].partition == 1


def test_bytes_are_sent_as_they_are() -> None:
    with TopologyTestDriver(sales(), deserialization_error="skip") as driver:
        driver.send("sales", "ann", b"not json")
        driver.send("sales", "ann", b'{"shop":"x","cents":4}')
        assert dict(driver.store("by-customer")) == {"ann": 4}


@pytest.mark.parametrize("at", [-1, 1 << 63, "1969-12-31T23:59Z"])
def test_a_time_that_no_record_can_have_is_refused(at: Any) -> None:
    with (
        TopologyTestDriver(windowed()) as driver,
        pytest.raises(ProcessingError, match=r"send\(at=.*\): "),
    ):
        driver.send("in", "k", Sale("x", 1), at=at)


def test_headers_that_no_record_can_have_are_refused() -> None:
    headers: Any = [("a", "b")]
    with (
        TopologyTestDriver(sales()) as driver,
        pytest.raises(ProcessingError, match=r"send\(headers=.*\('a', 'b'\) is not a header"),
    ):
        driver.send("sales", "ann", Sale("x", 1), headers=headers)


def test_topics_that_are_not_read_are_refused() -> None:
    with TopologyTestDriver(sales()) as driver:
        with pytest.raises(TopologyError, match="does not read 'sale'") as caught:
            driver.send("sale", "a", Sale("x", 1))
        assert "sales" in caught.value.hint
        with pytest.raises(StreamerError, match="'nope' does not exist"):
            driver.read("nope")
    with pytest.raises(TopologyError, match=r"not used: \['nope'\]"):
        TopologyTestDriver(sales(), partitions={"nope": 2})


def test_wrong_settings_are_refused_as_everywhere() -> None:
    with pytest.raises(ConfigError, match="unknown setting comit_interval_ms"):
        TopologyTestDriver(sales(), comit_interval_ms=5)
    app = App("options")
    app.stream("in", key=str, value=int).group_by_key().count(
        store=Store("s", rocksdb={"no_such_option": 1})
    )
    with pytest.raises(ConfigError, match="no_such_option"):
        TopologyTestDriver(app)


# -- stores ----------------------------------------------------------------------------------------


def test_a_store_is_a_mapping_over_all_tasks() -> None:
    with TopologyTestDriver(sales(), partitions=4) as driver:
        for name in ("dan", "ann", "cat", "bob"):
            driver.send("sales", name, Sale("x", len(name)))
        view = driver.store("by-customer")
        assert view["ann"] == 3
        assert view.get("zed") is None
        assert "bob" in view
        assert len(view) == 4
        assert list(view) == ["ann", "bob", "cat", "dan"]
        assert view.range("b", "d") == [("bob", 3), ("cat", 3)]
        assert view.range(end="b") == [("ann", 3)]
        with pytest.raises(KeyError, match="zed"):
            view["zed"]
        with pytest.raises(TopologyError, match="fetch"):
            view.fetch("ann", 0)


def test_an_unknown_store_is_refused_with_those_that_exist() -> None:
    with TopologyTestDriver(sales()) as driver:
        with pytest.raises(TopologyError, match="no store 'x'") as caught:
            driver.store("x")
        assert caught.value.hint == "its stores: by-customer, by-shop"


def test_windows_are_fetched_by_their_start() -> None:
    with TopologyTestDriver(windowed(), start="2026-03-01T10:00Z") as driver:
        driver.send("in", "a", Sale("x", 1), at="2026-03-01T10:59Z")
        driver.send("in", "a", Sale("x", 1), at="2026-03-01T11:00Z")
        view = driver.store("hours")
        assert view.fetch("a", "2026-03-01T10:00Z") == 1
        assert view.fetch("a", datetime(2026, 3, 1, 11)) == 1
        assert view.fetch("a", "2026-03-01T12:00Z") is None
        start = 1772359200000
        assert list(view.items()) == [
            (Windowed("a", start, start + 3_600_000), 1),
            (Windowed("a", start + 3_600_000, start + 7_200_000), 1),
        ]
        assert driver.read("out")[0] == (Windowed("a", start, start + 3_600_000), 1)
        with pytest.raises(TopologyError, match="a value per key and window"):
            view["a"]


def test_sessions_are_listed_by_key() -> None:
    with TopologyTestDriver(windowed()) as driver:
        for minute in (0, 4, 12):
            driver.send("in", "a", Sale("x", 1), at=minute * 60_000)
        driver.send("in", "b", Sale("x", 1), at=720_000)
        view = driver.store("sessions")
        assert [(one.start_ms, one.end_ms, value.n) for one, value in view.sessions("a")] == [
            (0, 240_000, 2),
            (720_000, 720_000, 1),
        ]
        assert view.fetch("a", 0).n == 2
        assert view.fetch("a", 1) is None


def test_a_row_past_its_ttl_is_not_there() -> None:
    app = App("ttl")
    app.stream("in", key=str, value=int).group_by_key().count(
        store=Store("seen", ttl=timedelta(seconds=10))
    )
    with TopologyTestDriver(app) as driver:
        driver.send("in", "a", 1, at=1_000)
        driver.send("in", "b", 1, at=10_999)
        assert dict(driver.store("seen")) == {"a": 1, "b": 1}
        assert driver.store("seen").timestamp_ms("a") == 1_000
        driver.send("in", "b", 1, at=11_000)
        assert dict(driver.store("seen")) == {"b": 2}


# -- time ------------------------------------------------------------------------------------------


class Ticking:
    def open(self, context: Any) -> None:
        self.context = context
        context.schedule(timedelta(minutes=1), self.tick, by="wall")
        self.ticks = context.store("ticks")

    def process(self, record: Record, context: Any) -> None:
        self.ticks.put("records", (self.ticks.get("records") or 0) + 1)

    def tick(self, now_ms: int) -> None:
        self.context.forward(key="tick", value=now_ms)


def ticking() -> App:
    app = App("ticking")
    stream = app.stream("in", key=str, value=str)
    stream.process(Ticking, stores=[Store("ticks", str, int)]).to("out", key=str, value=int)
    return app


def test_the_wall_clock_moves_only_when_told_and_punctuates() -> None:
    with TopologyTestDriver(ticking(), start=60_000) as driver:
        driver.send("in", "a", "x", at="2030-01-01T00:00Z")
        assert driver.now_ms == 60_000
        driver.advance(seconds=59)
        assert driver.read("out") == []
        driver.advance(seconds=1)
        assert driver.read("out") == [("tick", 120_000)]
        driver.advance(minutes=5)
        assert driver.read("out") == [("tick", 120_000), ("tick", 420_000)]


def test_a_window_closes_when_a_later_record_moves_stream_time() -> None:
    app = App("final")
    app.stream("in", key=str, value=int).group_by_key().windowed_by(
        HoppingWindows(timedelta(seconds=10), timedelta(seconds=5))
    ).count(store="w", emit="final").to("out")
    with TopologyTestDriver(app) as driver:
        driver.send("in", "a", 1, at=6_000)
        driver.advance(hours=1)
        assert driver.read("out") == []
        driver.send("in", "b", 1, at=10_000)
        assert driver.read("out") == [(Windowed("a", 0, 10_000), 1)]
        driver.send("in", "b", 1, at=15_000)
        assert driver.read("out")[1:] == [
            (Windowed("a", 5_000, 15_000), 1),
            (Windowed("b", 5_000, 15_000), 1),
        ]


@pytest.mark.parametrize("moment", ["yesterday", 1.5, True, None])
def test_what_is_no_point_in_time_is_refused(moment: Any) -> None:
    with pytest.raises(ConfigError, match="no point in time"):
        TopologyTestDriver(sales(), start=moment)


# -- around it -------------------------------------------------------------------------------------


def test_nothing_is_left_behind() -> None:
    driver = TopologyTestDriver(sales())
    folder = Path(driver._folder.name)
    assert folder.exists()
    driver.close()
    driver.close()
    assert not folder.exists()


CALLS: dict[str, Any] = {
    "send": lambda driver: driver.send("sales", "ann", Sale("x", 1)),
    "send_many": lambda driver: driver.send_many("sales", [("ann", Sale("x", 1))]),
    "commit": lambda driver: driver.commit(),
    "process": lambda driver: driver.process(),
    "advance": lambda driver: driver.advance(minutes=1),
    "crash": lambda driver: driver.crash(),
    "repartition": lambda driver: driver.repartition(1),
    "store": lambda driver: driver.store("by-customer"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_driver_that_was_closed_says_so(name: str) -> None:
    with TopologyTestDriver(sales()) as driver:
        driver.send("sales", "ann", Sale("x", 1))
    with pytest.raises(StreamerError, match="the driver is closed"):
        CALLS[name](driver)
    assert driver.read("totals") == [("ann", 1)]


def test_several_drivers_may_be_open_at_once() -> None:
    app = sales()
    with TopologyTestDriver(app) as one, TopologyTestDriver(app) as other:
        one.send("sales", "ann", Sale("x", 1))
        assert other.read("totals") == []


@pytest.mark.slow
def test_it_can_be_used_where_nothing_else_is_set_up(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(
        "from streamer import App\n"
        "from streamer.testing import TopologyTestDriver\n"
        "app = App('a')\n"
        "app.stream('in', key=str, value=int).map_values(lambda n: n + 1, value=int).to('out')\n"
        "def test_it():\n"
        "    with TopologyTestDriver(app) as driver:\n"
        "        driver.send('in', 'k', 1)\n"
        "        assert driver.read('out') == [('k', 2)]\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
