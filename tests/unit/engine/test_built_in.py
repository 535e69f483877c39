"""Built-in aggregates of fields that are null, missing, of a wrong type or too large."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, TypedDict

import pytest
from msgspec import defstruct

from streamer import (
    App,
    Count,
    First,
    Last,
    Max,
    Min,
    SessionWindows,
    Sum,
    TopologyError,
    TumblingWindows,
)
from streamer.engine.fields import Fields
from streamer.engine.fold import Told, fold_loop
from streamer.errors import ProcessingError
from streamer.serdes import Json, MessagePack
from streamer.testing import TopologyTestDriver

MINUTE = timedelta(minutes=1)
ALL = {
    "n": Count(),
    "sum": Sum("x"),
    "least": Min("x"),
    "greatest": Max("x"),
    "first": First("x"),
    "last": Last("x"),
}


@dataclass
class Maybe:
    x: float | None = None


@dataclass
class Passed:
    ok: bool | None = None


class Rank(IntEnum):
    FIRST = 1


@dataclass
class Ranked:
    rank: Rank


class Typed(TypedDict):
    x: int


@dataclass
class Sale:
    amount: int
    name: str = ""
    at: datetime | None = None

    @property
    def doubled(self) -> int:
        return 2 * self.amount


def _app(given: Any, fields: dict[str, Any], *, sessions: bool = False, **more: Any) -> App:
    app = App("sums")
    grouped = app.stream("in", key=str, value=given).group_by_key()
    if sessions:
        table = grouped.windowed_by(SessionWindows(timedelta(minutes=1))).aggregate(
            fields, store="s", **more
        )
    else:
        table = grouped.aggregate(fields, store="s", **more)
    table.to("out")
    return app


@pytest.mark.parametrize("sessions", [False, True])
@pytest.mark.parametrize("as_dict", [False, True])
def test_nulls_are_left_out_as_in_sql(as_dict: bool, sessions: bool) -> None:
    given = [None, 5.0, None, 2.0, None]
    values = [{"x": each} if as_dict else Maybe(each) for each in given]
    app = _app(dict[str, Any] if as_dict else Maybe, ALL, sessions=sessions)
    with TopologyTestDriver(app) as driver:
        for value in values:
            driver.send("in", "k", value)
        results = [value for _key, value in driver.read("out") if value is not None]
    shown = [(one.n, one.sum, one.least, one.greatest, one.first, one.last) for one in results]
    assert shown == [
        (1, None, None, None, None, None),
        (2, 5.0, 5.0, 5.0, None, 5.0),
        (3, 5.0, 5.0, 5.0, None, None),
        (4, 7.0, 2.0, 5.0, None, 2.0),
        (5, 7.0, 2.0, 5.0, None, None),
    ]


@pytest.mark.parametrize("sessions", [False, True])
@pytest.mark.parametrize(
    ("aggregate", "values", "offset", "message"),
    [
        (Sum("x"), [{"x": "a"}, {"x": 5}], 0, "Sum('x'): it is 'a' (str), which cannot be"),
        (Sum("x"), [{"x": 5}, {"x": "a"}], 1, "'a' (str), which cannot be aggregated with 5 (int)"),
        (Sum("x"), [{"x": None}, {"x": [1]}], 1, "Sum('x'): it is [1] (list)"),
        (Max("x"), [{"x": {}}, {"x": 5}], 0, "Max('x'): it is {} (dict)"),
        (Min("x"), [{"x": 5}, {"x": "b"}], 1, "Min('x'): it is 'b' (str)"),
        (Last("x"), [{"x": 1}, {"y": 2}], 1, "Last('x'): the value has no 'x'"),
        (Sum("x"), [{"x": 1e308}, {"x": 1e308}, {"x": 1}], 1, "with 1e+308 the result is inf"),
    ],
)
def test_the_record_that_cannot_be_aggregated_is_the_one_to_blame(
    aggregate: Any, values: list[Any], offset: int, message: str, sessions: bool
) -> None:
    app = _app(dict[str, Any], {"n": Count(), "r": aggregate}, sessions=sessions)
    with TopologyTestDriver(app, auto_commit=False) as driver:
        driver.send_many("in", [("k", value) for value in values])
        with pytest.raises(ProcessingError) as caught:
            driver.commit()
    assert caught.value.offset == offset
    assert message in caught.value.message


@pytest.mark.parametrize("auto_commit", [True, False])
@pytest.mark.parametrize("sessions", [False, True])
@pytest.mark.parametrize("given", [Passed, dict[str, Any]])
def test_a_sum_of_bools_is_a_number_from_the_first_record_on(
    given: Any, sessions: bool, auto_commit: bool
) -> None:
    app = _app(given, {"s": Sum("ok"), "m": Max("ok")}, sessions=sessions, emit="every")
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        for ok in (None, True, True, False, True):
            driver.send("in", "k", Passed(ok) if given is Passed else {"ok": ok}, at=1)
        driver.commit()
        results = [repr((one.s, one.m)) for _key, one in driver.read("out")]
    assert results == ["(None, None)", "(1, True)", "(2, True)", "(2, True)", "(3, True)"]


def test_a_sum_of_an_enum_of_numbers_is_read_again_as_a_number() -> None:
    app = _app(Ranked, {"s": Sum("rank")})
    with TopologyTestDriver(app) as driver:
        for _ in range(3):
            driver.send("in", "k", Ranked(Rank.FIRST))
        assert [repr(one.s) for _key, one in driver.read("out")] == ["1", "2", "3"]


@pytest.mark.parametrize("emit", ["commit", "every"])
def test_a_record_that_makes_a_sum_infinite_is_skipped_alone(emit: Any) -> None:
    values = [1e308, 1.5, 1e308, -1e308]
    app = _app(Maybe, {"n": Count(), "sum": Sum("x")}, emit=emit)
    with TopologyTestDriver(app, auto_commit=False, processing_error="skip") as driver:
        driver.send_many("in", [("k", Maybe(each)) for each in values])
        driver.commit()
        _key, last = driver.read("out")[-1]
        assert (last.n, last.sum) == (3, 1e308 + 1.5 - 1e308)


def test_message_pack_stores_infinity_as_it_is() -> None:
    @dataclass
    class Total:
        sum: float = 0.0

    app = _app(Maybe, {"sum": Sum("x")}, value=MessagePack(Total))
    with TopologyTestDriver(app) as driver:
        for each in (1e308, 1e308, 1.0):
            driver.send("in", "k", Maybe(each))
        assert [total.sum for _key, total in driver.read("out")] == [1e308, *2 * [float("inf")]]


def test_a_result_that_was_added_later_begins_with_what_comes() -> None:
    made = defstruct("Made", [("sum", Any, None)])
    fields = Fields({"sum": Sum("amount")}, result=made, by_item=False)
    loop = fold_loop({"sum": Sum("amount")}, result=made, by_item=False, fields=fields)
    cells: dict[bytes, Any] = {b"k": made()}
    loop(cells, [(b"k", None, Sale(7)), (b"k", None, Sale(1))], Told([].append, int))
    assert cells[b"k"].sum == 8


@pytest.mark.parametrize(
    ("value", "aggregate", "message", "hint"),
    [
        (Sale, Sum("amont"), "'r': Sum('amont'): Sale has no field 'amont'", "mean 'amount'?"),
        (Typed, Last("z"), "'r': Last('z'): Typed has no field 'z'", "it has x"),
        (Sale, Sum("name"), "'r': Sum('name'): Sale.name is no number", "sum a number"),
        (Sale, Sum("at"), "'r': Sum('at'): Sale.at is no number", "sum a number"),
        (int, Sum("x"), "'r': Sum('x'): the values are int, which has no fields", "value=Type"),
        (None, Max("x"), "'r': Max('x'): the values are bytes", "value=Type"),
    ],
)
def test_fields_are_checked_against_the_type_of_the_values(
    value: Any, aggregate: Any, message: str, hint: str
) -> None:
    with pytest.raises(TopologyError) as caught:
        _app(value, {"r": aggregate})
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_what_the_type_does_not_forbid_is_accepted() -> None:
    fields = {"d": Sum("doubled"), "least": Min("name"), "last": Last("at")}
    with TopologyTestDriver(_app(Sale, fields)) as driver:
        driver.send("in", "k", Sale(2, "b"))
        driver.send("in", "k", Sale(3, "a"))
        assert driver.read("out")[-1][1].d == 10
        assert driver.read("out")[-1][1].least == "a"
    _app(dict[str, int], {"s": Sum("anything")}).topology()


KEYWORDS = {
    "class": Count(),
    "is": Sum("from"),
    "not": Min("from"),
    "or": Max("from"),
    "if": First("from"),
    "for": Last("from"),
}


@pytest.mark.parametrize("windows", [None, TumblingWindows(MINUTE), SessionWindows(MINUTE)])
@pytest.mark.parametrize("given", [Any, dict[str, int], defstruct("Way", [("from", int)])])
def test_names_may_be_keywords_of_python(given: Any, windows: Any) -> None:
    app = App("keywords")
    grouped = app.stream("in", key=str, value=given).group_by_key()
    grouped = grouped if windows is None else grouped.windowed_by(windows)
    grouped.aggregate(KEYWORDS, store="s").to("out", value=Json(Any))
    with TopologyTestDriver(app) as driver:
        for amount in (3, 1, 2):
            driver.send("in", "k", b'{"from":%d}' % amount)
        [*_others, (_key, last)] = driver.read("out")
        row = {"class": 3, "is": 6, "not": 1, "or": 3, "if": 3, "for": 2}
        assert last == row
        [found] = driver.store("s").values()
        assert {name: getattr(found, name) for name in row} == row
