"""What user code does to an object in place is seen in what that code returns, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from streamer import (
    App,
    First,
    HoppingWindows,
    Last,
    Record,
    SessionWindows,
    Store,
    Sum,
    TopologyError,
    TumblingWindows,
)
from streamer.store.keys import row
from streamer.testing import TopologyTestDriver
from tests.unit.engine.rig import Rig

ROW = {"name": "ann", "email": "x@y"}
SIZES = [1, 2, 5]


@dataclass
class Sale:
    n: int


@dataclass
class Book:
    total: int = 0
    sales: list[Sale] = field(default_factory=list)


def run(driver: TopologyTestDriver, topic: str, records: list[Any], size: int) -> None:
    """The records in batches of a size; the commit lies behind all of them."""
    for start in range(0, len(records), size):
        for key, value, at in records[start : start + size]:
            driver.send(topic, key, value, at=at)
        driver.process()
    driver.commit()


def sales(*numbers: int) -> list[Any]:
    return [("k", Sale(n), place) for place, n in enumerate(numbers)]


def redacted(found: dict[str, str]) -> dict[str, str]:
    found.pop("email", None)
    return found


def doubled(sale: Sale) -> Sale:
    sale.n *= 2
    return sale


def added(one: Sale, other: Sale) -> Sale:
    one.n += other.n
    return one


# -- tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stream", "view"])
def test_a_table_keeps_what_came_whatever_is_done_behind_it(way: str) -> None:
    app = App("table")
    table = app.table("rows", key=str, value=dict, store="rows")
    if way == "view":
        shown = table.map_values(redacted)
        shown.to("redacted")
    else:
        shown = table
        table.stream().map_values(redacted).to("redacted")
    stream = app.stream("in", key=str, value=str)
    stream.join(shown, lambda _one, found: sorted(found), value=list).to("joined")
    stream.join(table, lambda _one, found: sorted(found), value=list).to("whole")
    with TopologyTestDriver(app, auto_commit=False) as driver:
        driver.send("rows", "k", ROW, at=1)
        driver.send("in", "k", "x", at=2)
        driver.commit()
        assert driver.read("redacted") == [("k", {"name": "ann"})]
        fields = ["name"] if way == "view" else ["email", "name"]
        assert driver.read("joined") == [("k", fields)]
        assert driver.read("whole") == [("k", ["email", "name"])]
        assert dict(driver.store("rows")) == {"k": ROW}
        driver.crash(lose_disk=True)
        assert dict(driver.store("rows")) == {"k": ROW}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("of", ["table", "aggregate", "built in"])
def test_a_joiner_has_a_row_of_its_own(of: str, size: int) -> None:
    app = App("join")
    if of == "table":
        table = app.table("rows", key=str, value=Sale, store="rows")
    else:
        grouped = app.stream("rows", key=str, value=Sale).group_by_key()
        how: Any = {"n": Sum("n")}
        table = (
            grouped.aggregate(how, store="rows")
            if of == "built in"
            else grouped.reduce(added, store="rows")
        )

    def joiner(sale: Sale, found: Any) -> Any:
        found.n += sale.n
        return found

    app.stream("in", key=str, value=Sale).join(table, joiner, value=Any).to("out")
    with TopologyTestDriver(app, auto_commit=False) as driver:
        driver.send("rows", "k", Sale(10), at=0)
        run(driver, "in", sales(1, 2, 3), size)
        assert [found["n"] for _key, found in driver.read("out")] == [11, 12, 13]
        assert driver.store("rows")["k"].n == 10


def test_a_row_of_a_table_that_cannot_be_read_names_store_and_key() -> None:
    app = App("old", processing_error="skip")
    rows = app.table("rows", key=str, value=Sale, store="rows")
    app.stream("in", key=str, value=Sale).join(rows, lambda _one, found: found, value=Sale).to(
        "out"
    )
    rig = Rig(app)
    rig.database.write({"rows": [(b"old", row(1, b"[]")), (b"new", row(1, b'{"n":7}'))]})
    rig.run("in", [("new", Sale(1), 1)])
    rig.commit()
    assert [one[1] for one in rig.sent("out")] == [Sale(7)]
    with pytest.raises(TopologyError, match="store 'rows': the value of key b'old' is not json"):
        rig.run("in", [("new", Sale(1), 1), ("old", Sale(1), 1)])


# -- aggregates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_a_reducer_may_change_the_first_of_two(size: int) -> None:
    app = App("reduce")
    stream = app.stream("in", key=str, value=Sale)
    grouped = stream.group_by_key()
    grouped.reduce(added, store="one")
    grouped.reduce(added, store="two", emit="every").to("two")
    stream.to("copy")
    with TopologyTestDriver(app, auto_commit=False) as driver:
        run(driver, "in", sales(1, 10, 100), size)
        assert dict(driver.store("one")) == dict(driver.store("two")) == {"k": Sale(111)}
        assert [sale.n for _key, sale in driver.read("two")] == [1, 11, 111]
        assert [sale.n for _key, sale in driver.read("copy")] == [1, 10, 100]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("emit", ["commit", "every"])
@pytest.mark.parametrize("returned", ["first", "second"])
def test_windows_share_no_object(returned: str, emit: Any, size: int) -> None:
    def reducer(one: Sale, other: Sale) -> Sale:
        if returned == "second" and other.n == 10:
            return other
        return added(one, other)

    app = App("hopping")
    windows = HoppingWindows(timedelta(milliseconds=20), timedelta(milliseconds=10))
    grouped = app.stream("in", key=str, value=Sale).group_by_key()
    table = grouped.windowed_by(windows).reduce(reducer, store="s", emit=emit)
    table.stream().map_values(doubled).to("doubled")
    with TopologyTestDriver(app, auto_commit=False) as driver:
        records = [("k", Sale(n), at) for n, at in ((1, 15), (10, 16), (100, 17))]
        run(driver, "in", records, size)
        total = 110 if returned == "second" else 111
        found = {key.start_ms: sale.n for key, sale in driver.store("s").items()}
        assert found == {0: total, 10: total}
        last = {key.start_ms: sale.n for key, sale in driver.read("doubled")}
        assert last == {0: 2 * total, 10: 2 * total}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["kv", "hopping", "session"])
def test_an_aggregate_that_keeps_a_value_shares_it_with_nobody(kind: str, size: int) -> None:
    def step(_key: str, sale: Sale, book: Book) -> Book:
        if book.sales:
            book.sales[0].n += sale.n
        else:
            book.sales.append(sale)
        book.total += sale.n
        return book

    app = App("keep")
    stream = app.stream("in", key=str, value=Sale)
    grouped: Any = stream.group_by_key()
    options: dict[str, Any] = {}
    if kind == "hopping":
        windows: Any = HoppingWindows(timedelta(milliseconds=20), timedelta(milliseconds=10))
        grouped = grouped.windowed_by(windows)
    if kind == "session":
        grouped = grouped.windowed_by(SessionWindows(timedelta(milliseconds=20)))
        options["merge"] = lambda _key, one, _other: one
    grouped.aggregate(Book, step, store="s", **options)
    stream.map_values(doubled).to("doubled")
    with TopologyTestDriver(app, auto_commit=False) as driver:
        records = [("k", Sale(n), at) for n, at in ((1, 15), (10, 16), (100, 17))]
        run(driver, "in", records, size)
        books = [book for _key, book in driver.store("s").items()]
        assert books == [Book(111, [Sale(111)])] * (2 if kind == "hopping" else 1)
        assert [sale.n for _key, sale in driver.read("doubled")] == [2, 20, 200]


@pytest.mark.parametrize("size", SIZES)
def test_a_built_in_aggregate_keeps_a_part_as_it_was(size: int) -> None:
    def emptied(value: dict[str, Any]) -> dict[str, Any]:
        value["tags"].clear()
        return value

    app = App("parts")
    stream = app.stream("in", key=str, value=dict)
    stream.group_by_key().aggregate({"first": First("tags"), "last": Last("tags")}, store="s")
    stream.map_values(emptied).to("emptied")
    with TopologyTestDriver(app, auto_commit=False) as driver:
        records = [("k", {"tags": [tag]}, at) for at, tag in enumerate("abc")]
        run(driver, "in", records, size)
        result = driver.store("s")["k"]
        assert (result.first, result.last) == (["a"], ["c"])
        assert driver.read("emptied") == [("k", {"tags": []})] * 3


@pytest.mark.parametrize("emit", ["commit", "every", "final"])
@pytest.mark.parametrize("kind", ["tumbling", "session"])
def test_a_result_belongs_to_who_gets_it(kind: str, emit: Any) -> None:
    app = App("results")
    windows: Any = TumblingWindows(timedelta(milliseconds=10))
    if kind == "session":
        windows = SessionWindows(timedelta(milliseconds=2))
    keep = timedelta(days=1)
    grouped = app.stream("in", key=str, value=Sale).group_by_key()
    table = grouped.windowed_by(windows).reduce(added, store="s", emit=emit, retention=keep)

    def overwritten(sale: Sale | None) -> Sale | None:
        if sale is not None:
            sale.n = -1
        return sale

    table.stream().map_values(overwritten, value=Sale).to("out")
    with TopologyTestDriver(app, auto_commit=False) as driver:
        run(driver, "in", [("k", Sale(1), 1), ("k", Sale(2), 2), ("k", Sale(4), 99)], 5)
        assert [sale.n for _key, sale in driver.store("s").items()] == [3, 4]
        sent = [sale.n for _key, sale in driver.read("out") if sale is not None]
        assert sent == [-1] * {"commit": 2, "every": 3, "final": 1}[emit]


# -- process ---------------------------------------------------------------------------------------


@dataclass
class Deep:
    n: int
    rows: list[Any] = field(default_factory=list)


@pytest.mark.parametrize(
    "made",
    [
        lambda: {"n": 0, "rows": [0]},
        lambda: Deep(0, [[0]]),
        lambda: {"n": 0, "rows": ([0],)},
        lambda: {"n": 0, "deep": [{"rows": [0]}]},
    ],
)
def test_what_is_forwarded_is_what_it_was_then(made: Any) -> None:
    def use(record: Record, context: Any) -> None:
        out = made()
        headers = [("n", b"0")]
        for number in range(3):
            _changed(out, number)
            headers[0] = ("n", b"%d" % number)
            context.forward(value=out, headers=headers)
        _changed(out, 9)

    app = App("forward")
    app.stream("in", key=str, value=str).process(use, value=Any).to("out")
    with TopologyTestDriver(app) as driver:
        driver.send("in", "k", "x")
        found = driver.read_records("out")
        assert [_number(one.value) for one in found] == [(0, 0), (1, 1), (2, 2)]
        assert [one.headers for one in found] == [[("n", b"%d" % n)] for n in range(3)]


def _changed(out: Any, number: int) -> None:
    if isinstance(out, Deep):
        out.n = number
        out.rows[0][0] = number
        return
    out["n"] = number
    rows = out["deep"][0]["rows"] if "deep" in out else out["rows"]
    (rows[0] if isinstance(rows, tuple) else rows)[0] = number


def _number(value: Any) -> tuple[int, int]:
    rows = value["deep"][0]["rows"] if "deep" in value else value["rows"]
    return value["n"], rows[0][0] if isinstance(rows[0], list) else rows[0]


@pytest.mark.parametrize("slots", [False, True])
def test_a_plain_object_that_was_forwarded_may_be_used_again(slots: bool) -> None:
    @dataclass(slots=slots)
    class Plain:
        n: int

    def use(record: Record, context: Any) -> None:
        out = Plain(0)
        for number in range(3):
            out.n = number
            context.forward(value=out)

    app = App("plain")
    app.stream("in", key=str, value=str).process(use, value=Plain).to("out")
    with TopologyTestDriver(app) as driver:
        driver.send("in", "k", "x")
        assert driver.read("out") == [("k", Plain(0)), ("k", Plain(1)), ("k", Plain(2))]


def test_a_value_that_was_forwarded_and_then_stored_may_be_changed_between() -> None:
    def use(record: Record, context: Any) -> None:
        store = context.store("s")
        seen = store.get(record.key) or {"seen": []}
        context.forward(value=seen)
        seen["seen"].append(record.value)
        store.put(record.key, seen)

    app = App("between")
    stream = app.stream("in", key=str, value=str)
    stream.process(use, stores=[Store("s", str, dict)]).to("out")
    with TopologyTestDriver(app, auto_commit=False) as driver:
        run(driver, "in", [("k", text, 1) for text in "ab"], 5)
        assert driver.read("out") == [("k", {"seen": []}), ("k", {"seen": ["a"]})]
        assert driver.store("s")["k"] == {"seen": ["a", "b"]}


def test_an_object_that_cannot_be_copied_is_passed_on_as_it_is() -> None:
    iterator = iter("abc")
    generator = (letter for letter in iterator)

    app = App("generator")
    stream = app.stream("in", key=str, value=str)
    stream.process(lambda record, context: context.forward(value=generator)).map_values(
        lambda letters: "".join(letters), value=str
    ).to("out")
    with TopologyTestDriver(app) as driver:
        driver.send("in", "k", "x")
        assert driver.read("out") == [("k", "abc")]
