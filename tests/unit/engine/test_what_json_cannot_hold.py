"""Numbers and keys that JSON does not have fail at the record that makes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from streamer import (
    App,
    First,
    Last,
    Record,
    SessionWindows,
    Store,
)
from streamer.serdes import MessagePack
from streamer.testing import TopologyTestDriver


@dataclass
class Mean:
    mean: float | None = None


def means(app: App, kind: str, **options: Any) -> Any:
    grouped: Any = app.stream("in", key=str, value=float).group_by_key()
    if kind == "session":
        grouped = grouped.windowed_by(SessionWindows(timedelta(milliseconds=20)))
        options["merge"] = lambda _key, one, other: Mean((one.mean or 0) + (other.mean or 0))
    return grouped.aggregate(
        Mean, lambda _key, number, mean: Mean((mean.mean or 0) + number), store="s", **options
    )


@pytest.mark.parametrize("emit", ["commit", "every"])
@pytest.mark.parametrize("kind", ["kv", "session"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_the_record_that_makes_an_aggregate_non_finite_is_the_one_that_fails(
    number: float, kind: str, emit: Any
) -> None:
    app = App("nan")
    means(app, kind, emit=emit).to("out")
    with TopologyTestDriver(app, auto_commit=False) as driver:
        for one in (1.0, number, 2.0):
            driver.send("in", "k", one, at=1)
        with pytest.raises(
            Exception, match=rf"'s' cannot hold the non-finite number {number} \(mean\) .*offset 1"
        ):
            driver.commit()
    app = App("nan", processing_error="skip")
    means(app, kind, emit=emit).to("out")
    with TopologyTestDriver(app, auto_commit=False) as driver:
        for one in (1.0, number, 2.0):
            driver.send("in", "k", one, at=1)
        driver.commit()
        driver.send("in", "k", 4.0, at=1)
        driver.commit()
        assert [mean for _key, mean in driver.store("s").items()] == [Mean(7.0)]
        assert driver.read("out")[-1][1] == Mean(7.0)


def test_a_put_of_what_json_does_not_have_fails_where_it_is_put() -> None:
    def use(record: Record, context: Any) -> None:
        store = context.store("s")
        value = {"nan": {"mean": float("nan")}, "keys": {5: 1}, "fine": {"5": None}}
        store.put(record.key, value[record.value])

    app = App("put", processing_error="dead_letter", dead_letter_topic="dead")
    stores = [Store("s", str, Any)]
    app.stream("in", key=str, value=str).process(use, stores=stores).to("out")
    with TopologyTestDriver(app) as driver:
        for what in ("nan", "fine", "keys"):
            driver.send("in", what, what)
        assert dict(driver.store("s")) == {"fine": {"5": None}}
        messages = [
            dict(letter.headers)["__streamer.errors.message"].decode()
            for letter in driver.read_records("dead")
        ]
    assert messages == [
        "the JSON of store 's' cannot hold the non-finite number nan (['mean'])",
        "the JSON of store 's', which has no type, would turn the dict key 5 into text",
    ]


def test_a_result_that_json_cannot_hold_is_not_written() -> None:
    app = App("sink", production_error="skip")
    stream = app.stream("in", key=str, value=float)
    stream.map_values(Mean, value=Mean).to("json")
    stream.map_values(Mean, value=MessagePack(Mean)).to("msgpack")
    with TopologyTestDriver(app) as driver:
        for number in (1.0, float("inf"), 2.0):
            driver.send("in", "k", number)
        assert [mean.mean for _key, mean in driver.read("json")] == [1.0, 2.0]
        assert [mean.mean for _key, mean in driver.read("msgpack")] == [1.0, float("inf"), 2.0]


@pytest.mark.parametrize("aggregate", [First("mean"), Last("mean")])
def test_a_built_in_aggregate_does_not_keep_what_json_has_not(aggregate: Any) -> None:
    app = App("last", processing_error="skip")
    stream = app.stream("in", key=str, value=MessagePack(Mean))
    stream.group_by_key().aggregate({"r": aggregate}, store="s", emit="every").to("out")
    with TopologyTestDriver(app) as driver:
        for number in (float("inf"), 1.0, 2.0, float("nan")):
            driver.send("in", "k", Mean(number))
        assert driver.store("s")["k"].r == (1.0 if isinstance(aggregate, First) else 2.0)


def counted(_key: str, number: int, counts: dict[int, int]) -> dict[int, int]:
    counts[number] = counts.get(number, 0) + 1
    return counts


def test_numbers_as_keys_of_an_untyped_aggregate_are_refused() -> None:
    app = App("untyped")
    app.stream("in", key=str, value=int).group_by_key().aggregate(dict, counted, store="s")
    with TopologyTestDriver(app) as driver:
        with pytest.raises(Exception, match="would turn the dict key 5 into text") as caught:
            driver.send("in", "k", 5)
        assert "value=dict[int, int]" in getattr(caught.value, "hint", "")


def test_numbers_as_keys_of_a_typed_aggregate_stay_numbers() -> None:
    app = App("typed")
    stream = app.stream("in", key=str, value=int)
    stream.group_by_key().aggregate(dict, counted, value=dict[int, int], store="s")
    with TopologyTestDriver(app) as driver:
        for number in (5, 5, 7):
            driver.send("in", "k", number)
        driver.crash(lose_disk=True)
        driver.send("in", "k", 5)
        assert driver.store("s")["k"] == {5: 3, 7: 1}
