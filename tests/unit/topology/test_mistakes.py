"""Mistakes that a topology shows are refused where they are made, with what is possible."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from streamer import App, Store, Stream, TopologyError, TumblingWindows
from streamer.errors import SerdeError
from streamer.serdes import Json
from streamer.testing import TopologyTestDriver
from streamer.topology.serde import Plain

SECOND = timedelta(seconds=1)


def _stream(app: App, topic: str = "in") -> Stream:
    return app.stream(topic, key=str, value=int)


class Processor:
    def process(self, record: Any) -> None: ...


WRONG_CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "filter": (lambda s: s.filter(lambda value: True), "filter() calls function(key, value)"),
    "map_values": (lambda s: s.map_values(lambda k, v: v), "map_values() calls function(value)"),
    "map": (lambda s: s.map(lambda value: (1, 2)), "map() calls function(key, value)"),
    "branch": (lambda s: s.branch(lambda value: True), "branch() calls function(key, value)"),
    "select_key": (lambda s: s.select_key(lambda v: v), "select_key() calls function(key, value)"),
    "process": (lambda s: s.process(Processor), "process() calls function(self, record, context)"),
    "aggregate": (
        lambda s: s.group_by_key().aggregate(int, lambda a, v: a + v, store="s"),
        "aggregate() calls function(key, value, aggregate)",
    ),
    "initial": (
        lambda s: s.group_by_key().aggregate(lambda key: 0, lambda k, v, a: a, store="s"),
        "aggregate(initial=) calls function()",
    ),
    "reduce": (
        lambda s: s.group_by_key().reduce(lambda k, a, v: a + v, store="s"),
        "reduce() calls function(aggregate, value)",
    ),
    "partition": (
        lambda s: s.to("out", partition=lambda key: 0),
        "to(partition=) calls function(key, value, count)",
    ),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_function_that_cannot_be_called_is_refused_with_its_parameters(name: str) -> None:
    make, message = WRONG_CALLS[name]
    with pytest.raises(TopologyError) as caught:
        make(_stream(App("a")))
    assert message in caught.value.message
    assert "does not accept" in caught.value.message


async def _waits(*_any: Any) -> Any:
    return False


async def _waits_and_yields(*_any: Any) -> Any:
    yield False


def _yields(*_any: Any) -> Iterator[Any]:
    yield False


class Waits:
    async def process(self, record: Any, context: Any) -> None: ...


class Yields:
    def process(self, record: Any, context: Any) -> Iterator[Any]:
        yield record


class WaitsToOpen:
    def process(self, record: Any, context: Any) -> None: ...

    async def open(self, context: Any) -> None: ...


class Calls:
    async def __call__(self, *_any: Any) -> Any: ...


NOT_RUN = {
    "async": (_waits, "'async def'"),
    "async generator": (_waits_and_yields, "'async def'"),
    "generator": (_yields, "'yield'"),
    "partial": (partial(partial(_waits, 1), 2), "'async def'"),
    "object": (Calls(), "'async def'"),
    "bound method": (Calls().__call__, "'async def'"),
}
TAKERS: dict[str, Callable[[Stream, Any], Any]] = {
    "filter": lambda s, f: s.filter(f),
    "map": lambda s, f: s.map(f),
    "map_values": lambda s, f: s.map_values(f),
    "select_key": lambda s, f: s.select_key(f),
    "peek": lambda s, f: s.peek(f),
    "branch": lambda s, f: s.branch(lambda k, v: True, f),
    "group_by": lambda s, f: s.group_by(f),
    "process": lambda s, f: s.process(f),
    "partition": lambda s, f: s.to("out", partition=f),
    "step": lambda s, f: s.group_by_key().aggregate(int, f, store="s"),
    "initial": lambda s, f: s.group_by_key().aggregate(f, lambda k, v, a: a, store="s"),
    "reduce": lambda s, f: s.group_by_key().reduce(f, store="s"),
    "table filter": lambda s, f: s.group_by_key().count(store="s").filter(f),
    "table map_values": lambda s, f: s.group_by_key().count(store="s").map_values(f),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("name", NOT_RUN)
def test_a_function_that_would_not_run_when_called_is_refused(name: str, taker: str) -> None:
    function, said = NOT_RUN[name]
    with pytest.raises(TopologyError) as caught:
        TAKERS[taker](_stream(App("a")), function)
    assert said in caught.value.message
    assert "nothing of it would run" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("processor", "said"),
    [
        (Waits, "Waits.process is 'async def'"),
        (Waits(), "Waits.process is 'async def'"),
        (Yields, "Yields.process has a 'yield'"),
        (WaitsToOpen, "WaitsToOpen.open is 'async def'"),
    ],
)
def test_a_processor_whose_methods_would_not_run_is_refused(processor: Any, said: str) -> None:
    with pytest.raises(TopologyError) as caught:
        _stream(App("a")).process(processor)
    assert said in caught.value.message


def test_flat_maps_take_generators_and_no_coroutines() -> None:
    def twice(value: int) -> Iterator[int]:
        yield value
        yield value + 1

    def pairs(key: str, value: int) -> Iterator[tuple[str, int]]:
        yield key + "!", value

    app = App("a")
    spread = _stream(app).flat_map_values(twice, value=int).flat_map(pairs, key=str, value=int)
    spread.to("out")
    with TopologyTestDriver(app) as driver:
        driver.send("in", "k", 1)
        assert driver.read("out") == [("k!", 1), ("k!", 2)]
    for take in (_stream(App("a")).flat_map, _stream(App("a")).flat_map_values):
        for function in (_waits, _waits_and_yields):
            with pytest.raises(TopologyError, match="'async def'"):
                take(function)


def test_a_punctuation_that_would_not_run_is_refused() -> None:
    class Ticks:
        def open(self, context: Any) -> None:
            context.schedule(SECOND, _waits)

        def process(self, record: Any, context: Any) -> None: ...

    app = App("a")
    _stream(app).process(Ticks)
    with pytest.raises(TopologyError, match=r"schedule\(\).*_waits is 'async def'"):
        TopologyTestDriver(app)


def test_functions_that_can_be_called_are_taken() -> None:
    stream = _stream(App("a"))
    stream.map_values(str).filter(lambda *both: True).map(lambda key, value, more=1: (key, more))
    stream.group_by_key().aggregate(int, lambda *_: 1, store="s")
    stream.process(lambda record, context: None).group_by_key()


def test_streams_are_not_joined_with_streams() -> None:
    app = App("a")
    one, other = _stream(app), _stream(app, "other")
    for join in (one.join, one.left_join):
        with pytest.raises(TopologyError, match="takes a table, not Stream") as caught:
            join(other, lambda a, b: a)  # type: ignore[arg-type]
        assert "app.table" in caught.value.hint


LOOPS: dict[str, Callable[[App], Any]] = {
    "as it is": lambda app: _stream(app).to("in"),
    "mapped": lambda app: _stream(app).map_values(lambda v: v + 1).to("in"),
    "re-keyed": lambda app: _stream(app).repartition("again").to("in"),
    "counted": lambda app: _stream(app).group_by_key().count(store="n").to("in"),
}
ENDING: dict[str, Callable[[App], Any]] = {
    "filtered": lambda app: _stream(app).filter(lambda k, v: v < 3).to("in"),
    "branched": lambda app: _stream(app).branch(lambda k, v: v < 3)[0].to("in"),
    "tried again": lambda app: _stream(app).process(lambda record, context: None).to("in"),
    "another topic": lambda app: [_stream(app).to("b"), _stream(app, "b").to("c")],
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_without_an_end_is_refused(name: str) -> None:
    app = App("a")
    LOOPS[name](app)
    with pytest.raises(TopologyError, match="'in' is written with every record"):
        app.topology()


@pytest.mark.parametrize("name", ENDING)
def test_a_loop_that_may_end_is_taken(name: str) -> None:
    app = App("a")
    ENDING[name](app)
    assert app.topology().subtopologies


CHANGELOG = "a-n-changelog"
READING_CHANGELOGS: dict[str, Callable[[App], Any]] = {
    "read": lambda app: _stream(app, CHANGELOG).filter(lambda k, v: True),
    "read among others": lambda app: app.stream(["x", CHANGELOG], key=str).peek(print),
    "of a later layout": lambda app: _stream(app, f"{CHANGELOG}.layout-2"),
    "as a table": lambda app: app.table(CHANGELOG, key=str, store="t"),
    "written": lambda app: _stream(app, "x").to(CHANGELOG),
}


@pytest.mark.parametrize("name", READING_CHANGELOGS)
def test_the_own_changelog_is_no_topic_of_a_stream(name: str) -> None:
    app = App("a")
    _stream(app).group_by_key().count(store="n")
    READING_CHANGELOGS[name](app)
    with pytest.raises(TopologyError, match=r"is the changelog of this .* store 'n'") as caught:
        app.topology()
    assert "table.stream()" in caught.value.hint


def test_the_changelog_of_another_application_may_be_read() -> None:
    app = App("b")
    _stream(app).group_by_key().count(store="n")
    _stream(app, CHANGELOG).to("copy")
    app.topology()


def test_a_retention_that_is_too_short_is_said(caplog: pytest.LogCaptureFixture) -> None:
    def retained(retention: timedelta | None) -> list[str]:
        caplog.clear()
        windows = TumblingWindows(SECOND, grace=5 * SECOND)
        grouped = _stream(App("a")).group_by_key()
        grouped.windowed_by(windows).count(store="w", retention=retention)
        return caplog.messages

    with caplog.at_level(logging.WARNING):
        assert retained(None) == retained(5 * SECOND) == []
        [line] = retained(2 * SECOND)
    assert "store w: " in line
    assert "retention of 2000 ms: it is kept for 5000 ms" in line


@dataclass
class Old:
    cents: int


@dataclass
class New:
    euros: int


def test_a_store_whose_values_have_another_type_is_named_with_the_key() -> None:
    app = App("a")
    # As if the type had been changed between the two records.
    changed: Plain[Any] = Plain("json:New", Json(Old).encode, Json(New).decode)
    _stream(app).group_by_key().aggregate(
        lambda: Old(1), lambda _k, _v, a: a, store=Store("totals", value=changed)
    )
    with TopologyTestDriver(app) as driver:
        driver.send("in", "ann", 1)
        driver.crash()
        with pytest.raises(TopologyError) as caught:
            driver.send("in", "ann", 2)
    assert "store 'totals': the value of key b'ann' is not json:New" in caught.value.message
    assert "give the store a new name" in caught.value.hint


def test_the_driver_names_topic_and_value_of_what_it_cannot_send() -> None:
    app = App("a")
    _stream(app).to("out")
    with TopologyTestDriver(app) as driver:
        with pytest.raises(SerdeError, match="the value for 'in' is 'five'") as caught:
            driver.send("in", "ann", "five")
        assert "not int64" in caught.value.message
        with pytest.raises(SerdeError, match="the key for 'in' is 5"):
            driver.send("in", 5, 5)
