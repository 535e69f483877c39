"""Stores in process: objects of one's own, and failures taken back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer import App, ProcessingError, Record, Store, TopologyError, WindowStore
from streamer.kafka.api import AbortableError
from streamer.store.keys import row
from streamer.testing import TopologyTestDriver
from tests.hurry import examples
from tests.unit.engine.rig import Rig

SKIP = {"processing_error": "skip"}
DEAD = {"processing_error": "dead_letter", "dead_letter_topic": "dead"}


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


def app_of(processor: Any, *stores: Any, value: Any = Any, **options: Any) -> App:
    app = App("stores", **options)
    stream = app.stream("in", key=str, value=Any)
    stream.process(processor, stores=stores, value=value).to("out")
    return app


# -- objects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("auto_commit", [True, False])
def test_an_object_from_a_store_is_its_readers_own(auto_commit: bool) -> None:
    def use(record: Record, context: Any) -> None:
        store = context.store("s")
        held = store.get("a")
        if held is None:
            held = [0]
            store.put("a", held)
        held.append(record.value)
        context.forward(value=[store.get("a"), [value for _key, value in store.range()]])

    app = app_of(use, Store("s", str, list))
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        for number in range(3):
            driver.send("in", "k", number)
        driver.commit()
        assert [value for _key, value in driver.read("out")] == [[[0], [[0]]]] * 3
        assert dict(driver.store("s")) == {"a": [0]}


@pytest.mark.parametrize("auto_commit", [True, False])
def test_a_value_reads_the_same_before_and_after_its_commit(auto_commit: bool) -> None:
    def use(record: Record, context: Any) -> None:
        any_, number, window = (context.store(name) for name in ("any", "number", "w"))
        context.forward(
            value=repr([any_.get("a"), number.get("a"), [*window.between(0, 99)], window.get(1, 2)])
        )
        any_.put("a", {"pair": [1, 2]})
        number.put("a", 1)
        window.put(1, (3,), 2)

    stores = (
        Store("any", str, Any),
        Store("number", str, float),
        WindowStore("w", key=int, value=list[int], size=ms(10)),
    )
    app = app_of(use, *stores, value=str)
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        driver.send("in", "k", 0, at=1)
        driver.send("in", "k", 0, at=2)
        driver.commit()
        assert [value for _key, value in driver.read("out")] == [
            "[None, None, [], None]",
            "[{'pair': [1, 2]}, 1.0, [(2, 1, [3])], [3]]",
        ]


@pytest.mark.parametrize("auto_commit", [True, False])
def test_a_table_is_not_changed_by_who_reads_it(auto_commit: bool) -> None:
    rows = Store("rows", key=str, value=list)
    app = App("shared")
    app.table("table", key=str, value=list, store=rows)

    def use(record: Record, context: Any) -> None:
        store = context.store("rows")
        held = store.get("a")
        held.append(record.value)
        if record.value == 2:
            store.put("a", held)
            held.append("later")
        context.forward(value=held)

    stream = app.stream("in", key=str, value=int)
    stream.process(use, stores=[rows], value=list).to("out")
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        driver.send("table", "a", ["row"], at=1)
        for number in (1, 2, 3):
            driver.send("in", "k", number, at=2)
        driver.commit()
        assert [value for _key, value in driver.read("out")] == [
            ["row", 1],
            ["row", 2, "later"],
            ["row", 2, 3],
        ]
        assert dict(driver.store("rows")) == {"a": ["row", 2]}


@pytest.mark.parametrize("reads", ["get", "range"])
def test_a_stored_value_of_another_type_is_no_fault_of_the_record(reads: str) -> None:
    def use(record: Record, context: Any) -> None:
        store = context.store("s")
        if reads == "get":
            store.get(record.key)
        else:
            list(store.range())

    rig = Rig(app_of(use, Store("s", str, int), **SKIP))
    rig.database.write({"s": [(b"k", row(1, b"text"))]})
    with pytest.raises(TopologyError, match="store 's': the value of key b'k' is not int64"):
        rig.run("in", [("k", 1, 1)])


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("auto_commit", [True, False])
@pytest.mark.parametrize("policy", [SKIP, DEAD], ids=["skip", "dead_letter"])
def test_a_record_that_fails_leaves_nothing_behind(
    policy: dict[str, Any], auto_commit: bool
) -> None:
    def use(record: Record, context: Any) -> None:
        store = context.store("s")
        store.put("sum", (store.get("sum") or 0) + record.value)
        store.put(f"seen {record.value}", 1)
        store.delete("seen 1")
        context.store("w").put("k", record.value, 5)
        context.forward(value="early")
        if record.value == 13:
            raise ValueError("thirteen")
        context.forward(value=store.get("sum"))

    stores = (Store("s", str, int), WindowStore("w", key=str, value=int, size=ms(100)))
    app = app_of(use, *stores, **policy)
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        for number in (1, 13, 2, 13):
            driver.send("in", "x", number, at=number)
        driver.commit()
        values = [value for _key, value in driver.read("out")]
        assert values == ["early", 1, "early", 3]
        assert dict(driver.store("s")) == {"seen 2": 1, "sum": 3}
        assert driver.store("s").timestamp_ms("sum") == 2
        assert list(driver.store("w").values()) == [2]


def test_an_aborted_punctuation_leaves_nothing_to_take_back() -> None:
    class Ticking:
        def open(self, context: Any) -> None:
            self.context = context
            self.fails = True
            context.schedule(ms(10), self.tick)

        def process(self, record: Record, context: Any) -> None:
            if record.value == 13:
                raise ValueError("thirteen")
            context.store("s").put("row", record.value)

        def tick(self, now_ms: int) -> None:
            self.context.store("s").put("row", -1)
            if self.fails:
                self.fails = False
                raise AbortableError("again")

    rig = Rig(app_of(Ticking, Store("s", str, int), **SKIP))
    rig.run("in", [("x", 1, 1)])
    rig.commit()
    with pytest.raises(AbortableError):
        rig.run("in", [("x", 2, 12)])
    rig.abort()
    rig.run("in", [("x", 13, 3)])
    rig.commit()
    assert rig.rows("s") == {b"row": (1, 1)}


def test_a_schedule_that_a_failing_record_cancelled_goes_on() -> None:
    class Ticking:
        def open(self, context: Any) -> None:
            self.context = context
            self.entries = [context.schedule(ms(10), self.tick), context.schedule(ms(10), print)]
            self.entries[1].cancel()

        def process(self, record: Record, context: Any) -> None:
            if record.value:
                self.entries[0].cancel()
            if record.value == 13:
                raise ValueError("thirteen")

        def tick(self, now_ms: int) -> None:
            self.context.forward(key="tick", value=now_ms)

    with TopologyTestDriver(app_of(Ticking, **SKIP)) as driver:
        driver.send_many("in", [("x", 0, 1), ("x", 13, 2), ("x", 0, 12)])
        assert driver.read("out") == [("tick", 12)]
        # A cancellation that was aborted is made again, at its record and not before.
        driver.broker.fail_next("commit", AbortableError("no"))
        driver.send_many("in", [("x", 0, 22), ("x", 1, 23), ("x", 0, 33)])
        assert driver.read("out") == [("tick", 12), ("tick", 22)]


KEYS = st.sampled_from("abc")
ACTS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.integers(0, 9)),
    st.tuples(st.just("add"), KEYS, st.integers(0, 9)),
    st.tuples(st.just("spoil"), KEYS, st.just(0)),
    st.tuples(st.just("delete"), KEYS, st.just(0)),
    st.tuples(st.just("show"), KEYS, st.just(0)),
    st.tuples(st.just("each"), KEYS, st.integers(0, 9)),
    st.tuples(st.just("fail"), KEYS, st.just(0)),
)
RECORDS = st.lists(st.tuples(st.lists(ACTS, max_size=5), st.sampled_from([0, 1, 3, 9, -4])))


def act(record: Record, context: Any) -> None:
    """Does what the record says."""
    store = context.store("s")
    for name, key, number in record.value:
        held = store.get(key)
        if name == "put":
            store.put(key, [number])
        elif name == "add":
            store.put(key, [*(held or []), number])
        elif name == "spoil" and held is not None:
            held.append("spoiled")
        elif name == "delete":
            store.delete(key)
        elif name == "show":
            context.forward(value=[held, [[key, value] for key, value in store.range()]])
        elif name == "each":
            for other, value in store.range(key):
                store.put(other, [*value, number])
                store.put(other + other, [number])
        elif name == "fail":
            raise ValueError("as asked")


class Model:
    """The same over a dictionary of (value, time); a record that fails changes nothing."""

    def __init__(self, ttl: int | None) -> None:
        self.ttl = ttl
        self.rows: dict[str, tuple[list[Any], int]] = {}
        self.sent: list[Any] = []
        self.time = -1

    def run(self, acts: list[Any], stamp: int) -> None:
        self.time = max(self.time, stamp)
        rows, sent = dict(self.rows), list(self.sent)
        for name, key, number in acts:
            if name == "put":
                self.put(key, [number], stamp)
            elif name == "add":
                self.put(key, [*self.seen().get(key, []), number], stamp)
            elif name == "delete":
                self.rows.pop(key, None)
            elif name == "show":
                seen = self.seen()
                self.sent.append([seen.get(key), [[one, seen[one]] for one in sorted(seen)]])
            elif name == "each":
                seen = self.seen()
                for other in sorted(one for one in seen if one >= key):
                    self.put(other, [*seen[other], number], stamp)
                    self.put(other + other, [number], stamp)
            elif name == "fail":
                self.rows, self.sent = rows, sent
                return

    def put(self, key: str, value: list[Any], stamp: int) -> None:
        before = self.rows[key][1] if key in self.seen() else -1
        self.rows[key] = (value, max(before, stamp))

    def seen(self) -> dict[str, list[Any]]:
        ttl = self.ttl
        return {
            key: value
            for key, (value, stamp) in self.rows.items()
            if ttl is None or stamp + ttl > self.time
        }


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RECORDS, st.sampled_from([None, 7]), st.integers(1, 5))
def test_results_do_not_depend_on_commits_nor_on_records_that_failed(
    records: list[tuple[list[Any], int]], ttl: int | None, size: int
) -> None:
    now = 0
    timed: list[tuple[str, list[Any], int]] = []
    for acts, step in records:
        now += max(step, 0)
        timed.append(("k", acts, max(now + min(step, 0), 0)))
    model = Model(ttl)
    for _key, acts, stamp in timed:
        model.run(acts, stamp)
    store = Store("s", str, list, ttl=None if ttl is None else ms(ttl))
    for batch, per_commit in ((1, 1), (size, size), (size, 99), (99, 99)):
        rig = Rig(app_of(act, store, **SKIP))
        for start in range(0, len(timed), per_commit):
            part = timed[start : start + per_commit]
            for first in range(0, len(part), batch):
                rig.run("in", part[first : first + batch])
            rig.commit()
        assert [value for _key, value, *_rest in rig.sent("out")] == model.sent
        assert {
            key.decode(): value for key, (value, _stamp) in rig.rows("s").items()
        } == model.seen()


# -- times -----------------------------------------------------------------------------------------


def test_a_negative_time_is_refused_at_its_record() -> None:
    def use(record: Record, context: Any) -> None:
        context.forward(value=record.value, timestamp_ms=record.value)

    with TopologyTestDriver(app_of(use)) as driver:
        driver.send("in", "k", 0)
        with pytest.raises(ProcessingError, match=r"forward\(timestamp_ms=-5\).*in/0 offset 1"):
            driver.send("in", "k", -5)
        assert [one.timestamp_ms for one in driver.read_records("out")] == [0]


def test_before_any_record_a_punctuation_has_the_time_of_the_clock() -> None:
    class Ticking:
        def open(self, context: Any) -> None:
            self.context = context
            context.schedule(ms(10), self.tick, by="wall")

        def process(self, record: Record, context: Any) -> None:
            context.store("s").put("row", record.value)

        def tick(self, now_ms: int) -> None:
            self.context.store("s").put("row", 1)
            self.context.forward(key="tick", value=self.context.stream_time_ms)

    with TopologyTestDriver(app_of(Ticking, Store("s", str, int)), start=1_005) as driver:
        driver.advance(milliseconds=1)
        driver.advance(milliseconds=10)
        sent = [(one.value, one.timestamp_ms) for one in driver.read_records("out")]
        assert sent == [(-1, 1_016)]
        assert driver.store("s").timestamp_ms("row") == 1_016
        # A row keeps the newest time that it has seen.
        driver.send("in", "k", 2, at=900)
        driver.send("in", "k", 3, at=901)
        assert driver.store("s")["row"] == 3
        assert driver.store("s").timestamp_ms("row") == 1_016
