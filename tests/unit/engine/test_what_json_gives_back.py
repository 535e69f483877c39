"""What JSON without a type would give back as something else fails at the record that makes it."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer import App, First, Max, Min, ProcessingError, Record, SessionWindows, Store, Sum
from streamer.testing import TopologyTestDriver
from tests.hurry import examples


@dataclass
class Five:
    n: int = 5


class Six(msgspec.Struct):
    n: int = 6


class Point(NamedTuple):
    x: int = 1


class Colour(Enum):
    RED = "red"


class Word(StrEnum):
    ONE = "one"


class Rank(IntEnum):
    FIRST = 1


NOT_GIVEN_BACK: dict[str, Callable[[], Any]] = {
    "tuple": lambda: ("a", 1),
    "set": lambda: {"a"},
    "frozenset": lambda: frozenset({"a"}),
    "Five": Five,
    "Six": Six,
    "Point": Point,
    "datetime": lambda: datetime(2026, 1, 1, tzinfo=UTC),
    "date": lambda: date(2026, 1, 1),
    "timedelta": lambda: timedelta(1),
    "UUID": lambda: UUID(int=5),
    "Decimal": lambda: Decimal("1.5"),
    "bytes": lambda: b"raw",
    "Colour": lambda: Colour.RED,
    "Word": lambda: Word.ONE,
    "Rank": lambda: Rank.FIRST,
    "Counter": lambda: Counter("a"),
    "defaultdict": lambda: defaultdict(int, a=1),
    "OrderedDict": lambda: OrderedDict(a=1),
}
GIVEN_BACK: tuple[Any, ...] = (0, 2**64 - 1, -1.5, True, None, "text", [], {}, {"a": [{"b": 1}]})


def made(name: str) -> Any:
    return NOT_GIVEN_BACK[name]() if name in NOT_GIVEN_BACK else GIVEN_BACK[int(name)]


def kept(_key: str, name: str, before: Any) -> Any:
    """All that was made, and how all before it looked when it was seen again."""
    return {
        "made": [*before["made"], made(name)],
        "seen": [*before["seen"], repr(before["made"])],
    }


def replaced(_key: str, name: str, before: Any) -> Any:
    return made(name) if name in NOT_GIVEN_BACK else {"made": made(name), "seen": repr(before)}


def empty() -> Any:
    return {"made": [], "seen": []}


def joined(_key: str, one: Any, _other: Any) -> Any:
    return one


def send_all(driver: TopologyTestDriver, names: Sequence[str]) -> None:
    for name in names:
        driver.send("in", "k", name, at=1)
    driver.commit()


def app_of(kind: str, step: Callable[..., Any] = kept, **options: Any) -> App:
    app = App("back")
    grouped: Any = app.stream("in", key=str, value=str).group_by_key()
    if kind == "session":
        grouped = grouped.windowed_by(SessionWindows(timedelta(milliseconds=20)))
        options["merge"] = joined
    grouped.aggregate(empty, step, store="s", **options).to("out")
    return app


@pytest.mark.parametrize("auto_commit", [True, False])
@pytest.mark.parametrize("emit", ["commit", "every"])
@pytest.mark.parametrize("kind", ["kv", "session"])
def test_the_record_that_makes_it_is_the_one_that_fails(
    kind: str, emit: str, auto_commit: bool
) -> None:
    app = app_of(kind, emit=emit)
    with (
        TopologyTestDriver(app, auto_commit=auto_commit) as driver,
        pytest.raises(ProcessingError) as caught,
    ):
        send_all(driver, ("0", "tuple", "1"))
    assert caught.value.offset == 1
    message = "the JSON of store 's', which has no type, cannot give back a tuple (['made'][1])"
    assert message in caught.value.message
    assert "such as value=dict[str, list[tuple]]" in caught.value.hint


@pytest.mark.parametrize("name", NOT_GIVEN_BACK)
def test_each_type_that_json_lacks_is_refused_by_its_name(name: str) -> None:
    app = app_of("kv", lambda _key, value, _before: made(value))
    with (
        TopologyTestDriver(app) as driver,
        pytest.raises(ProcessingError, match=rf"cannot give back a {name} \(the value\)"),
    ):
        driver.send("in", "k", name)


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from([*map(str, range(len(GIVEN_BACK))), *NOT_GIVEN_BACK]), max_size=8),
    st.sets(st.integers(0, 7)),
    st.sampled_from(["kv", "session"]),
    st.sampled_from([kept, replaced]),
)
def test_results_do_not_depend_on_commits(
    names: list[str], commits: set[int], kind: str, step: Callable[..., Any]
) -> None:
    found = []
    for places in (set(), commits, set(range(len(names)))):
        app = app_of(kind, step)
        app.settings |= {"processing_error": "dead_letter", "dead_letter_topic": "dead"}
        with TopologyTestDriver(app, auto_commit=False) as driver:
            for number, name in enumerate(names):
                driver.send("in", "k", name, at=1)
                if number in places:
                    driver.commit()
            driver.commit()
            letters = [letter.value for letter in driver.read_records("dead")]
            found.append((repr([row for _key, row in driver.store("s").items()]), letters))
    assert found == [found[0]] * 3
    assert found[0][1] == [name.encode() for name in names if name in NOT_GIVEN_BACK]


def test_an_aggregate_with_its_type_is_the_same_before_and_after_a_commit() -> None:
    def longer(_key: str, value: str, before: Any) -> Any:
        return (*before, value) if isinstance(before, tuple) else (value,)

    for auto_commit in (True, False):
        app = App("typed")
        grouped = app.stream("in", key=str, value=str).group_by_key()
        grouped.aggregate(lambda: (), longer, value=tuple, store="t")
        grouped.aggregate(lambda: Five(0), lambda _k, _v, a: Five(a.n + 1), value=Five, store="n")
        with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
            for value in "abc":
                driver.send("in", "k", value)
            driver.commit()
            assert driver.store("t")["k"] == ("a", "b", "c")
            assert driver.store("n")["k"] == Five(3)


@pytest.mark.parametrize("auto_commit", [True, False])
def test_a_reduced_value_without_a_type_is_refused_too(auto_commit: bool) -> None:
    app = App("reduced", processing_error="skip")
    grouped = app.stream("in", key=str, value=Any).group_by_key()
    grouped.reduce(lambda one, other: (one, other) if other == 2 else [one, other], store="s")
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        for number in (1, 2, 3):
            driver.send("in", "k", number)
        driver.commit()
        assert driver.store("s")["k"] == [1, 3]


@pytest.mark.parametrize("reads", ["join", "get"])
@pytest.mark.parametrize("auto_commit", [True, False])
def test_a_step_that_reads_it_before_the_commit_is_not_to_blame(
    auto_commit: bool, reads: str
) -> None:
    def use(record: Record, context: Any) -> None:
        context.forward(value=context.store("s").get(record.key)["made"])

    def app(**settings: Any) -> App:
        app = App("read", **settings)
        grouped = app.stream("in", key=str, value=str).group_by_key()
        table = grouped.aggregate(empty, kept, store="s")
        other = app.stream("other", key=str, value=str)
        if reads == "join":
            other.join(table, lambda _value, row: row["made"]).to("out")
        else:
            other.process(use, stores=[Store("s")]).to("out")
        return app

    names = ("0", "tuple", "1")
    with TopologyTestDriver(app(processing_error="skip"), auto_commit=auto_commit) as driver:
        for name in names:
            driver.send("in", "k", name, at=1)
        driver.send("other", "k", "read", at=2)
        driver.commit()
        assert driver.read("out") == [("k", [0, 2**64 - 1])]
    with TopologyTestDriver(app(), auto_commit=False) as driver:
        for name in names:
            driver.send("in", "k", name, at=1)
        driver.send("other", "k", "read", at=2)
        with pytest.raises(ProcessingError, match=r"cannot give back a tuple .*offset 1"):
            driver.commit()


def test_a_put_and_a_table_of_it_fail_at_their_records() -> None:
    def use(record: Record, context: Any) -> None:
        context.store("s").put(record.key, {"n": made(record.value)})

    app = App("put", processing_error="skip")
    app.stream("in", key=str, value=str).process(use, stores=[Store("s", str, Any)])
    app.table("table", key=str, value=Five, store=Store("t", value=Any)).to("out")
    app.table("typed", key=str, value=Five, store="u")
    with TopologyTestDriver(app) as driver:
        for name in ("1", "Five", "Decimal", "2"):
            driver.send("in", name, name)
        driver.send("table", "k", Five())
        driver.send("typed", "k", Five())
        assert dict(driver.store("s")) == {"1": {"n": 2**64 - 1}, "2": {"n": -1.5}}
        assert dict(driver.store("t")) == {}
        assert dict(driver.store("u")) == {"k": Five()}


@pytest.mark.parametrize("auto_commit", [True, False])
@pytest.mark.parametrize("emit", ["commit", "every"])
@pytest.mark.parametrize("aggregate", [Sum("x"), Min("x"), Max("x")])
def test_a_built_in_aggregate_does_not_go_on_with_what_comes_back_as_text(
    aggregate: Any, emit: Any, auto_commit: bool
) -> None:
    app = App("built-in")
    stream = app.stream("in", key=str, value=str).map_values(lambda text: {"x": Decimal(text)})
    stream.group_by_key().aggregate({"r": aggregate}, store="s", emit=emit).to("out")
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        with pytest.raises(ProcessingError, match="would give back as something else") as caught:
            send_all(driver, ("1.5", "2.5"))
        assert caught.value.offset == 0


def test_a_built_in_aggregate_may_keep_and_replace_anything() -> None:
    app = App("kept")
    stream = app.stream("in", key=str, value=str).map_values(lambda text: {"x": (text,)})
    stream.group_by_key().aggregate({"r": First("x")}, store="s").to("out")
    with TopologyTestDriver(app) as driver:
        for text in ("a", "b"):
            driver.send("in", "k", text)
        assert driver.store("s")["k"].r == ["a"]


def test_a_result_that_is_only_written_may_be_anything() -> None:
    app = App("written")
    app.stream("in", key=str, value=str).map_values(made).to("out")
    with TopologyTestDriver(app) as driver:
        for name in ("tuple", "Five", "date"):
            driver.send("in", "k", name)
        written = [record.value for record in driver.broker.records("out")]
    assert written == [b'["a",1]', b'{"n":5}', b'"2026-01-01"']
