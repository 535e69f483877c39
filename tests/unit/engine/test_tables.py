"""Tables, joins, and aggregates' results as tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, Count, First, Last, Max, Min, Store, Sum
from streamer.testing import TopologyTestDriver


@dataclass
class Sale:
    n: int


def joined() -> App:
    app = App("joined")
    people = app.table("people", key=str, value=str, store="people")
    sales = app.stream("sales", key=str, value=Sale)
    sales.join(people, lambda sale, name: f"{name} {sale.n}", value=str).to("inner")
    sales.left_join(people, lambda sale, name: f"{name} {sale.n}", value=str).to("left")
    people.to("changes")
    short = people.filter(lambda _key, name: len(name) < 4).map_values(lambda name: name.upper())
    short.to("short", value=str)
    sales.join(short, lambda sale, name: f"{name} {sale.n}", value=str).to("derived")
    return app


def test_a_stream_sees_the_table_as_it_stands_at_each_record() -> None:
    with TopologyTestDriver(joined(), auto_commit=False) as driver:
        for topic, value, at in (
            ("sales", Sale(1), 1),
            ("people", "Ann", 2),
            ("sales", Sale(2), 3),
            ("people", "Anna", 4),
            ("sales", Sale(3), 5),
            ("people", None, 6),
            ("sales", Sale(4), 7),
        ):
            driver.send(topic, "a", value, at=at)
        driver.commit()
        assert driver.read("inner") == [("a", "Ann 2"), ("a", "Anna 3")]
        assert [value for _key, value in driver.read("left")] == [
            "None 1",
            "Ann 2",
            "Anna 3",
            "None 4",
        ]
        assert driver.read("derived") == [("a", "ANN 2")]
        assert driver.read("changes") == [("a", "Ann"), ("a", "Anna"), ("a", None)]
        assert driver.read("short") == [("a", "ANN"), ("a", None), ("a", None)]
        assert dict(driver.store("people")) == {}


def test_records_without_key_or_value_do_not_join() -> None:
    with TopologyTestDriver(joined()) as driver:
        driver.send("people", "a", "Ann")
        driver.send("people", None, "nobody")
        driver.send("sales", "a", None)
        driver.send("sales", None, Sale(1))
        assert driver.read("inner") == []
        assert driver.read("left") == [(None, "None 1")]
        assert dict(driver.store("people")) == {"a": "Ann"}


def test_a_row_past_its_ttl_does_not_join() -> None:
    app = App("ttl")
    table = app.table("table", key=str, value=str, store=Store("t", ttl=timedelta(milliseconds=10)))
    app.stream("in", key=str, value=str).join(table, lambda one, other: one + other).to("out")
    with TopologyTestDriver(app) as driver:
        driver.send("table", "a", "x", at=5)
        for at in (14, 15):
            driver.send("in", "a", str(at), at=at)
        assert driver.read("out") == [("a", "14x")]
        assert dict(driver.store("t")) == {}


def test_built_in_aggregates() -> None:
    app = App("built-in")
    app.stream("in", key=str, value=Sale).group_by_key().aggregate(
        {
            "count": Count(),
            "sum": Sum("n"),
            "least": Min("n"),
            "most": Max("n"),
            "first": First("n"),
            "last": Last("n"),
        },
        store="s",
        emit="every",
    ).to("out")
    with TopologyTestDriver(app) as driver:
        driver.send_many("in", [("a", Sale(n)) for n in (3, 1, 2)])
        found = [
            (one.count, one.sum, one.least, one.most, one.first, one.last)
            for _key, one in driver.read("out")
        ]
    assert found == [(1, 3, 3, 3, 3, 3), (2, 4, 1, 3, 3, 1), (3, 6, 1, 3, 3, 2)]


def test_built_in_aggregates_read_whatever_reaches_them() -> None:
    def build(app: App, grouped: Any) -> App:
        grouped.aggregate({"sum": Sum("n")}, store="s")
        return app

    apps = {}
    for kind, value in (("dict", dict), ("Any", Any), ("Sale", Sale)):
        app = App("reads")
        apps[kind] = build(app, app.stream("in", key=str, value=value).group_by_key())
    for kind, convert in (
        ("mapped to objects", lambda value: Sale(value["n"])),
        ("mapped to dicts", lambda value: {"n": value["n"]}),
    ):
        app = App("reads")
        mapped = app.stream("in", key=str, value=dict).map_values(convert)
        apps[kind] = build(app, mapped.group_by_key())
    app = App("reads")
    typed = app.stream("in", key=str, value=dict).map_values(lambda v: Sale(v["n"]), value=Sale)
    apps["typed"] = build(app, typed.group_by_key())
    for kind, app in apps.items():
        with TopologyTestDriver(app) as driver:
            driver.send("in", "k", b'{"n":2}')
            driver.send("in", "k", b'{"n":3}')
            assert driver.store("s")["k"].sum == 5, kind


def test_none_removes_a_key_and_is_passed_on() -> None:
    app = App("remove")
    app.stream("in", key=str, value=Sale).group_by_key().aggregate(
        int, lambda _k, sale, total: None if sale.n == 0 else total + sale.n, store="s"
    ).to("out")
    with TopologyTestDriver(app) as driver:
        for n in (1, 2, 0, 5):
            driver.send("in", "a", Sale(n))
        assert driver.read("out") == [("a", 1), ("a", 3), ("a", None), ("a", 5)]
        assert dict(driver.store("s")) == {"a": 5}


def test_every_result_is_passed_on_also_when_the_aggregate_is_changed_in_place() -> None:
    app = App("in-place")

    def add(_key: str, sale: Sale, seen: list[int]) -> list[int]:
        seen.append(sale.n)
        return seen

    table = (
        app.stream("in", key=str, value=Sale)
        .group_by_key()
        .aggregate(list, add, store="s", value=list[int], emit="every")
    )
    table.to("out")
    table.stream().map_values(lambda seen: len(seen), value=int).to("lengths")
    with TopologyTestDriver(app) as driver:
        driver.send_many("in", [("a", Sale(1)), ("a", Sale(2)), ("b", Sale(3)), ("a", Sale(4))])
        assert driver.read("out") == [("a", [1]), ("a", [1, 2]), ("b", [3]), ("a", [1, 2, 4])]
        assert driver.read("lengths") == [("a", 1), ("a", 2), ("b", 1), ("a", 3)]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_results_time_is_the_latest_of_its_records(size: int) -> None:
    app = App("times")
    app.stream("in", key=str, value=Sale).group_by_key().count(store="s", emit="every").to("out")
    stamps = [("a", 10), ("a", 5), ("b", 3), ("b", 12), ("a", 11)]
    with TopologyTestDriver(app, auto_commit=False) as driver:
        for start in range(0, len(stamps), size):
            for key, at in stamps[start : start + size]:
                driver.send("in", key, Sale(1), at=at)
            driver.process()
        driver.commit()
        found = [(one.key, one.timestamp_ms) for one in driver.read_records("out")]
        assert found == [("a", 10), ("a", 10), ("b", 3), ("b", 12), ("a", 11)]
        assert driver.store("s").timestamp_ms("a") == 11


def test_records_without_key_or_value_are_not_folded() -> None:
    app = App("nulls")
    app.stream("in", key=str, value=Sale).group_by_key().count(store="s").to("out")
    with TopologyTestDriver(app) as driver:
        driver.send_many("in", [("a", Sale(1)), (None, Sale(2)), ("a", None), ("b", Sale(3))])
        assert dict(driver.store("s")) == {"a": 1, "b": 1}


def test_a_ttl_begins_anew_with_each_record() -> None:
    app = App("ttl")
    app.stream("in", key=str, value=Sale).group_by_key().count(
        store=Store("s", ttl=timedelta(milliseconds=10)), emit="every"
    ).to("out")
    with TopologyTestDriver(app) as driver:
        stamps = [1, 10, 19, 29, 30, 25, 45]
        driver.send_many("in", [("a", Sale(1), at) for at in stamps])
        assert [count for _key, count in driver.read("out")] == [1, 2, 3, 1, 2, 3, 1]
