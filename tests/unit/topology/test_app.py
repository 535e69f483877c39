"""What an App refuses, and what its calls describe."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

import streamer
from streamer import (
    App,
    Count,
    HoppingWindows,
    SessionWindows,
    Store,
    Sum,
    TopologyError,
    TumblingWindows,
    WindowStore,
)
from streamer.testing import TopologyTestDriver
from streamer.topology.stores import StoreKind

HOUR = timedelta(hours=1)


@dataclass
class Event:
    n: int


def stream(app: App | None = None, topic: str = "in") -> Any:
    return (app or App("a")).stream(topic, key=str, value=Event)


def grouped(app: App | None = None) -> Any:
    return stream(app).group_by_key()


def test_public_names_are_all_there() -> None:
    assert sorted(streamer.__all__) == streamer.__all__
    for name in streamer.__all__:
        assert getattr(streamer, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        streamer.Nope  # noqa: B018


@pytest.mark.parametrize("name", ["", "a b", "ü", "-a", "x" * 121, None])
def test_an_application_id_is_part_of_names_of_topics(name: Any) -> None:
    with pytest.raises(TopologyError, match="not a usable application id"):
        App(name)


def test_an_application_without_input_is_refused() -> None:
    with pytest.raises(TopologyError, match="reads no topic"):
        App("a").topology()


REFUSED: dict[str, Any] = {
    "no name of a topic": (lambda: stream(topic=""), "not a topic's name"),
    "a topic read twice": (
        lambda: [stream(app, "in") for app in [App("a")] for _ in range(2)],
        "topic 'in' is read twice",
    ),
    "a store used twice": (
        lambda: [grouped_.count(store="s") for grouped_ in [grouped()] for _ in range(2)],
        "store 's' is used twice",
    ),
    "a repartition used twice": (
        lambda: [one.repartition("r") for one in [stream()] for _ in range(2)],
        "repartition 'r' is used twice",
    ),
    "no function": (lambda: stream().map("x"), r"map\(\) needs a function, not 'x'"),
    "no store name": (lambda: grouped().count(store="a/b"), "not a usable store name"),
    "an empty merge": (lambda: stream().merge(), "at least one other stream"),
    "a merge with itself": (
        lambda: [one.merge(one) for one in [stream()]],
        r"merge\(\) takes each stream once",
    ),
    "a stream merged twice": (
        lambda: [one.filter(lambda *_: True).merge(one, one) for one in [stream()]],
        r"merge\(\) takes each stream once",
    ),
    "a merge of two apps": (lambda: stream().merge(stream()), "streams of one App"),
    "an empty branch": (lambda: stream().branch(), "at least one predicate"),
    "no windows": (lambda: grouped().windowed_by(HOUR), "is not a window"),
    "final without windows": (
        lambda: grouped().count(store="s", emit="final"),
        "needs windows",
    ),
    "an unknown emit": (lambda: grouped().count(store="s", emit="now"), "emit='now' is not one"),
    "an aggregate without initial": (
        lambda: grouped().aggregate(0, lambda *_: 0, store="s"),
        "must be made by a function or type, not 0",
    ),
    "an aggregate without step": (
        lambda: grouped().aggregate(int, store="s"),
        r"needs a function \(key, value, aggregate\)",
    ),
    "sessions without merge": (
        lambda: (
            grouped()
            .windowed_by(SessionWindows(HOUR))
            .aggregate(int, lambda _k, _v, n: n, store="s")
        ),
        "needs merge=",
    ),
    "built-in with a function": (
        lambda: grouped().aggregate({"n": Count()}, lambda *_: 0, store="s"),
        "take no function",
    ),
    "no built-in": (lambda: grouped().aggregate({"n": 5}, store="s"), "5 is not a built-in"),
    "nothing to compute": (lambda: grouped().aggregate({}, store="s"), "computes nothing"),
    "a bad result name": (
        lambda: grouped().aggregate({"_n": Count()}, store="s"),
        "'_n' is not a usable name",
    ),
    "a field that is no name": (
        lambda: grouped().aggregate({"n": Sum(3)}, store="s"),  # type: ignore[arg-type]
        "the field must be a name, not 3",
    ),
    "a ttl of windows": (
        lambda: grouped().windowed_by(TumblingWindows(HOUR)).count(store=Store("s", ttl=HOUR)),
        "cannot have a ttl",
    ),
    "a window of no length": (lambda: TumblingWindows(timedelta(0)), "at least one millisecond"),
    "a negative grace": (
        lambda: TumblingWindows(HOUR, grace=-HOUR),
        "grace must not be negative",
    ),
    "a hop longer than its window": (
        lambda: HoppingWindows(HOUR, 2 * HOUR),
        "longer than its size",
    ),
    "a number for a duration": (lambda: SessionWindows(5), "must be a timedelta, not 5"),  # type: ignore[arg-type]
    "a reduce of unknown values": (
        lambda: stream().map_values(lambda v: v).group_by_key().reduce(max, store="s"),
        "value type of the stream before reduce",
    ),
    "a join behind a new key": (
        lambda: [
            stream(app)
            .select_key(lambda k, _v: k, key=str)
            .join(app.table("t", key=str, value=str, store="t"), max)
            for app in [App("a")]
        ],
        "key was changed",
    ),
    "a join with windows": (
        lambda: [
            one.join(one.group_by_key().windowed_by(TumblingWindows(HOUR)).count(store="w"), max)
            for one in [stream()]
        ],
        "a value per key and window",
    ),
    "a join of other keys": (
        lambda: [
            stream(app).join(app.table("t", key=int, value=str, store="t"), max)
            for app in [App("a")]
        ],
        "keys are utf8, those of table 't' are int64",
    ),
    "a store of other keys": (
        lambda: grouped().count(store=Store("s", key=int)),
        "store 's' has keys int64, but the stream's keys are utf8",
    ),
    "a process store without types": (
        lambda: stream().process(print, stores=[Store("s")]),
        "store 's' has no value type",
    ),
    "types of what no topic gets": (
        lambda: App("a").process("in", to_value=str),
        "to_key and to_value are the types of what is written",
    ),
    "a window store without size": (
        lambda: stream().process(print, stores=[WindowStore("w", str, int)]),
        "needs size=",
    ),
    "a shared store declared in two ways": (
        lambda: [
            stream(app)
            .process(print, stores=[Store("s", str, int)])
            .process(print, stores=[Store("s", str, int, ttl=HOUR)])
            for app in [App("a")]
        ],
        "declared twice, and not alike",
    ),
    "a shared store of other values": (
        lambda: [
            stream(app)
            .process(print, stores=[Store("s", str, int)])
            .process(print, stores=[Store("s", str, str)])
            for app in [App("a")]
        ],
        "'s' is declared twice, and not alike: values int64 and utf8",
    ),
    "a shared store of other keys and sizes": (
        lambda: [
            stream(app)
            .process(print, stores=[WindowStore("s", str, int, size=HOUR)])
            .process(print, stores=[WindowStore("s", int, int, size=2 * HOUR, retention=HOUR)])
            for app in [App("a")]
        ],
        "keys utf8 and int64; size_ms 3600000 and 7200000; retention_ms 7200000 and 3600000",
    ),
    "a table's store under other types": (
        lambda: [
            (one.group_by_key().count(store="s"), one.process(print, stores=[Store("s", str, int)]))
            for one in [stream()]
        ],
        "values json:int and int64",
    ),
    "names for stores": (
        lambda: stream().process(print, stores=["s"]),  # type: ignore[list-item]
        r"stores=\['s'\] is not a list of Store",
    ),
    "a name for a list of stores": (
        lambda: stream().process(print, stores="s"),  # type: ignore[arg-type]
        "stores='s' is not a list of Store",
    ),
    "a store for a list of stores": (
        lambda: stream().process(print, stores=Store("s", str, int)),  # type: ignore[arg-type]
        "is not a list of Store",
    ),
    "no store of an aggregation": (lambda: grouped().count(store=None), "store=None is no store"),
    "no store of a table": (
        lambda: App("a").table("t", key=str, store=5),  # type: ignore[arg-type]
        "store=5 is no store",
    ),
    "a merge with a table": (
        lambda: [
            stream(app).merge(app.table("t", key=str, value=str, store="t")) for app in [App("a")]
        ],
        r"merge\(\) takes streams, not Table",
    ),
    "a join with another app's table": (
        lambda: stream().join(App("b").table("t", key=str, value=str, store="t"), max),
        "table 't' is of another App",
    ),
    "no sink": (lambda: stream().to(None), "None is not a topic's name"),  # type: ignore[arg-type]
    "a sink that no topic is": (lambda: stream().to("my topic!"), "'my topic!' is not a topic"),
    "a pattern of topics": (lambda: App("a").stream("^h.*"), r"'\^h\.\*' is not a topic's name"),
    "a list with a wrong topic": (lambda: App("a").stream(["a", "b/c"]), "'b/c' is not a topic"),
    "no topics": (lambda: App("a").stream([]), "has no topic"),
    "a dot for a topic": (lambda: App("a").stream("."), "'.' is not a topic's name"),
    "two dots for a topic": (lambda: App("a").stream(".."), "'..' is not a topic's name"),
    "a topic of 250 letters": (lambda: App("a").stream("x" * 250), "is not a topic's name"),
    "a repartition without partitions": (
        lambda: stream().repartition("r", partitions=0),
        "repartition 'r' cannot have 0 partitions",
    ),
    "a text for partitions": (
        lambda: stream().repartition("r", partitions="4"),  # type: ignore[arg-type]
        "cannot have '4' partitions",
    ),
    "sessions in a process step": (
        lambda: [
            (
                one.group_by_key().windowed_by(SessionWindows(HOUR)).count(store="s"),
                one.process(print, stores=[Store("s")]),
            )
            for one in [stream()]
        ],
        "holds sessions",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_where_it_is_written(name: str) -> None:
    build, text = REFUSED[name]
    with pytest.raises(TopologyError, match=text):
        build()


def test_stores_behind_one_named_group_share_its_topic() -> None:
    app = App("shared")
    source = app.stream("in", key=str, value=int)
    by_parity = source.group_by(lambda _k, n: str(n % 2), key=str, name="g")
    by_parity.count(store="counts")
    by_parity.windowed_by(TumblingWindows(HOUR)).reduce(lambda a, b: a + b, store="sums")
    assert len(app.topology().subtopologies) == 2
    with TopologyTestDriver(app, partitions=2) as driver:
        driver.send_many("in", [("a", 1), ("b", 2), ("c", 3)])
        assert dict(driver.store("counts").items()) == {"0": 1, "1": 2}
        sums = {key.key: value for key, value in driver.store("sums").items()}
        assert sums == {"0": 2, "1": 4}
        assert sorted(driver.read("g")) == [("0", 2), ("1", 1), ("1", 3)]
    unnamed = source.group_by(lambda _k, n: str(n % 2), key=str)
    unnamed.count(store="one")
    unnamed.count(store="two")
    assert len(app.topology().subtopologies) == 4


def test_names_that_kafka_allows_are_topics() -> None:
    for name in ("...", "a.b_c-D9", "-", "x" * 249):
        app = App("a")
        app.stream(name).to(name)
        assert app._graph.nodes[0].topics == (name,)  # type: ignore[attr-defined]


def test_a_store_of_two_steps_is_one_where_its_types_are_alike() -> None:
    one = stream()
    one.process(print, stores=[Store("s", str, int)]).process(print, stores=[Store("s", str, int)])
    one.process(print, stores=[Store("s")])
    assert [node.stores[0].name for node in one._graph.nodes[1:]] == ["s", "s", "s"]
    assert one._graph.nodes[1].stores[0] is one._graph.nodes[3].stores[0]


def test_types_are_told_once_and_travel_along() -> None:
    one = stream()
    assert one._value.name == "json:Event"
    assert one.filter(lambda _k, _v: True)._value is one._value
    assert one.map_values(lambda v: v)._value is None
    assert one.map_values(lambda v: v.n, value=int)._value.name == "int64"

    def shout(event: Event) -> str:
        return "!" * event.n

    def same(event: Event) -> Event:
        return event

    assert one.map_values(shout)._value.name == "utf8"
    assert one.map_values(same)._value.name == "json:Event"
    assert one.process(print)._key is one._key
    assert one.select_key(lambda _k, _v: 1)._key is None
    assert one.merge(one.filter(lambda _k, _v: True))._value is one._value
    assert one.merge(one.map_values(shout))._value is None


def test_windowed_results_keep_windowed_keys_also_when_derived() -> None:
    table = grouped().windowed_by(TumblingWindows(HOUR)).count(store="w")
    assert table.stream()._key.name == "windowed:utf8"
    assert table.filter(lambda _k, _v: True).stream()._key.name == "windowed:utf8"
    assert grouped().count(store="s").stream()._key.name == "utf8"


@pytest.mark.parametrize(
    ("windows", "retention", "kept"),
    [
        (TumblingWindows(HOUR), None, HOUR),
        (TumblingWindows(HOUR, grace=3 * HOUR), None, 3 * HOUR),
        (TumblingWindows(HOUR), timedelta(0), timedelta(0)),
        (TumblingWindows(HOUR), 9 * HOUR, 9 * HOUR),
        (SessionWindows(HOUR), None, 2 * HOUR),
        (SessionWindows(HOUR, grace=HOUR), HOUR, 3 * HOUR),
        (SessionWindows(HOUR), 9 * HOUR, 9 * HOUR),
    ],
)
def test_windows_are_kept_as_long_as_records_may_come(
    windows: Any, retention: timedelta | None, kept: timedelta
) -> None:
    app = App("a")
    grouped(app).windowed_by(windows).count(store="w", retention=retention)
    (spec,) = app.topology().stores
    assert spec.retention_ms == kept // timedelta(milliseconds=1)
    is_session = isinstance(windows, SessionWindows)
    assert spec.kind is (StoreKind.SESSION if is_session else StoreKind.WINDOW)


def test_settings_are_kept_and_not_judged() -> None:
    app = App("a", commit_interval_ms=5, nonsense=1)
    assert app.settings == {"commit_interval_ms": 5, "nonsense": 1}
