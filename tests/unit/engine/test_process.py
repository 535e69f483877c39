"""The process step: stores, forwards and headers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from streamer import App, ProcessingError, Record, Store, WindowStore
from streamer.testing import TopologyTestDriver


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


def app_of(processor: Any, *stores: Any, value: Any = str, **settings: Any) -> App:
    app = App("process", **settings)
    stream = app.stream("in", key=str, value=int)
    stream.process(processor, stores=stores, value=value).to("out")
    return app


def values(driver: TopologyTestDriver) -> list[str]:
    return [value for _key, value in driver.read("out")]


def test_a_window_that_begins_at_no_time_fails_at_its_record() -> None:
    store = WindowStore("w", key=str, value=int, size=ms(10))

    def put(record: Record, context: Any) -> None:
        context.store("w").put(record.key, 1, record.value)

    with TopologyTestDriver(app_of(put, store)) as driver:
        driver.send("in", "k", 5, at=5)
        with pytest.raises(ProcessingError, match=r"put\(start_ms=-5\): .*negative time"):
            driver.send("in", "k", -5, at=5)


def test_a_record_is_seen_with_all_that_belongs_to_it() -> None:
    seen: list[Record] = []

    def look(record: Record, context: Any) -> None:
        seen.append(record)
        seen.append(context.record)
        assert context.timestamp_ms == record.timestamp_ms
        assert context.stream_time_ms == 9
        assert context.wall_time_ms == 77

    with TopologyTestDriver(app_of(look), partitions={"in": 2}, start=77) as driver:
        driver.send("in", "a", 1, at=9, headers=[("h", b"1")], partition=1)
    assert seen[0] is seen[1]
    record = seen[0]
    assert (record.key, record.value, record.timestamp_ms) == ("a", 1, 9)
    assert (record.topic, record.partition, record.offset) == ("in", 1, 0)
    assert record.headers == [("h", b"1")]


def test_what_is_forwarded_keeps_what_is_not_said() -> None:
    def forward(record: Record, context: Any) -> None:
        context.forward(value="same")
        context.forward(key="other", value="new", timestamp_ms=5, headers=[("own", None)])
        context.forward(key=None, value=None)

    with TopologyTestDriver(app_of(forward)) as driver:
        driver.send("in", "a", 1, at=9, headers=[("h", b"1")])
        found = [
            (one.key, one.value, one.timestamp_ms, one.headers)
            for one in driver.read_records("out")
        ]
    assert found == [
        ("a", "same", 9, [("h", b"1")]),
        ("other", "new", 5, [("own", None)]),
        (None, None, 9, [("h", b"1")]),
    ]


def test_a_key_value_store_reads_its_own_writes() -> None:
    log: list[Any] = []

    def use(record: Record, context: Any) -> None:
        store = context.store("s")
        if record.value == 1:
            for key in ("b", "a", "ab", "c"):
                store.put(key, len(key))
            store.put("c", None)
        log.append(store.get("a"))
        log.append(list(store.range()))
        log.append(list(store.range("ab", "c")))
        log.append(list(store.prefix("a")))
        log.append((store.delete("b"), store.get("b"), store.delete("zz")))

    with TopologyTestDriver(app_of(use, Store("s", str, int))) as driver:
        driver.send("in", "k", 1)
        driver.send("in", "k", 2)
        assert dict(driver.store("s")) == {"a": 1, "ab": 2}
    assert log[:5] == [
        1,
        [("a", 1), ("ab", 2), ("b", 1)],
        [("ab", 2), ("b", 1)],
        [("a", 1), ("ab", 2)],
        (1, None, None),
    ]
    assert log[5:] == [
        1,
        [("a", 1), ("ab", 2)],
        [("ab", 2)],
        [("a", 1), ("ab", 2)],
        (None, None, None),
    ]


def test_a_window_store_keeps_windows_for_their_retention() -> None:
    log: list[Any] = []

    def use(record: Record, context: Any) -> None:
        store = context.store("w")
        store.put(record.key, record.value, record.timestamp_ms)
        log.append((store.get("a", 0), [start for start, _k, _v in store.between(0, 1_000)]))

    store = WindowStore("w", key=str, value=int, size=ms(10), retention=ms(20))
    with TopologyTestDriver(app_of(use, store)) as driver:
        driver.send_many("in", [("a", at, at) for at in (0, 5, 29, 30, 0)])
        assert [key.start_ms for key in driver.store("w")] == [5, 29, 30]
    assert log == [
        (0, [0]),
        (0, [0, 5]),
        (0, [0, 5, 29]),
        (None, [5, 29, 30]),
        (None, [5, 29, 30]),
    ]


def test_rows_past_their_ttl_are_neither_read_nor_kept() -> None:
    log: list[Any] = []

    def use(record: Record, context: Any) -> None:
        store = context.store("s")
        log.append((store.get("a"), list(store.range())))
        store.put(record.key, record.value)

    with TopologyTestDriver(app_of(use, Store("s", str, int, ttl=ms(10)))) as driver:
        for key, at in (("a", 1), ("b", 5), ("b", 10), ("b", 11), ("a", 12), ("b", 30)):
            driver.send("in", key, at, at=at)
        assert dict(driver.store("s")) == {"b": 30}
        changes = driver.read("process-s-changelog")
        assert [key for key, row in changes if row is None] == [b"a", b"a"]
    assert log == [
        (None, []),
        (1, [("a", 1)]),
        (1, [("a", 1), ("b", 5)]),
        (None, [("b", 10)]),
        (None, [("b", 11)]),
        (None, []),
    ]


def test_a_store_that_was_not_named_is_refused() -> None:
    def use(record: Record, context: Any) -> None:
        context.store("other")

    with (
        TopologyTestDriver(app_of(use, Store("s", str, int))) as driver,
        pytest.raises(ProcessingError, match=r"no store 'other'; it has \['s'\]") as failed,
    ):
        driver.send("in", "k", 1)
    assert failed.value.offset == 0


def test_a_record_that_asks_for_a_store_that_there_is_not_is_left_out() -> None:
    def use(record: Record, context: Any) -> None:
        context.store("s" if record.key == "k" else "other").put(record.key, record.value)

    app = app_of(use, Store("s", str, int), processing_error="skip")
    with TopologyTestDriver(app) as driver:
        driver.send_many("in", [("x", 1), ("k", 2)])
        assert dict(driver.store("s")) == {"k": 2}


def test_a_processor_is_made_for_each_task_opened_and_closed() -> None:
    log: list[str] = []

    class Life:
        def __init__(self) -> None:
            log.append("made")

        def open(self, context: Any) -> None:
            log.append(f"open {context.task}")

        def process(self, record: Record, context: Any) -> None:
            log.append(f"process {context.task}")

        def close(self) -> None:
            log.append("close")

    with TopologyTestDriver(app_of(Life), partitions={"in": 2}) as driver:
        driver.send("in", "k", 1, partition=1)
    assert log == ["made", "open 0_0", "made", "open 0_1", "process 0_1", "close", "close"]


def test_a_close_that_fails_is_told_and_the_tasks_are_closed_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Life:
        def process(self, record: Record, context: Any) -> None:
            context.forward(value=str(record.value))

        def close(self) -> None:
            raise ValueError("connection lost")

    with TopologyTestDriver(app_of(Life)) as driver:
        driver.send("in", "k", 1)
        driver.crash()
        driver.send("in", "k", 2)
        assert [value for _key, value in driver.read("out")] == ["1", "2"]
    assert "close() of step" in caplog.text
    assert "connection lost" in caplog.text


def test_two_steps_share_a_store() -> None:
    shared = Store("shared", key=str, value=int)
    app = App("shared")

    def write(record: Record, context: Any) -> None:
        store = context.store("shared")
        store.put(record.key, (store.get(record.key) or 0) + record.value)
        context.forward(value=record.value)

    def read(record: Record, context: Any) -> None:
        context.forward(value=context.store("shared").get(record.key))

    stream = app.stream("in", key=str, value=int)
    stream.process(write, stores=[shared], value=int).process(read, stores=[shared], value=int).to(
        "out"
    )
    other = app.stream("asked", key=str, value=int)
    other.process(read, stores=[shared], value=int).to("answers")
    with TopologyTestDriver(app) as driver:
        driver.send_many("in", [("a", 1, 1), ("a", 2, 2), ("a", 3, 3)])
        driver.send("asked", "a", 0, at=4)
        assert driver.read("out") == [("a", 1), ("a", 3), ("a", 6)]
        assert driver.read("answers") == [("a", 6)]


def test_the_decorator_of_the_app_describes_the_same() -> None:
    app = App("decorated")
    seen = Store("seen", key=str, value=int)

    @app.process("purchases", key=str, value=int, stores=[seen], to="first-orders")
    def first(record: Record, context: Any) -> None:
        if context.store("seen").get(record.key) is None:
            context.store("seen").put(record.key, record.value)
            context.forward(value=record.value)

    with TopologyTestDriver(app) as driver:
        for key, value in (("ann", 1), ("ann", 2), ("bob", 3)):
            driver.send("purchases", key, value)
        assert driver.read("first-orders") == [("ann", 1), ("bob", 3)]


def test_a_failing_open_stops_the_start() -> None:
    class Failing:
        def open(self, context: Any) -> None:
            raise ValueError("no connection")

        def process(self, record: Record, context: Any) -> None:
            pass

    with pytest.raises(ProcessingError, match=r"open.*ValueError: no connection"):
        TopologyTestDriver(app_of(Failing)).close()


WRONG_FORWARDS: list[tuple[dict[str, Any], str]] = [
    ({"headers": {"a": b"1"}}, "forward(headers={'a': b'1'}): headers are a list, not dict"),
    ({"headers": [("a", 1)]}, "('a', 1) is not a header"),
    ({"headers": [("b", b"2"), ("a",)]}, "('a',) is not a header"),
    ({"headers": [(b"a", b"1")]}, "(b'a', b'1') is not a header"),
    ({"headers": ("a", b"1")}, "'a' is not a header"),
    ({"timestamp_ms": 1.5}, "forward(timestamp_ms=1.5): a time is a whole number"),
    ({"timestamp_ms": "5"}, "milliseconds, not str"),
    ({"timestamp_ms": 10**20}, "less than 2^63"),
    ({"timestamp_ms": -1}, "there is no negative time"),
]


@pytest.mark.parametrize(("given", "said"), WRONG_FORWARDS)
def test_what_no_record_can_have_is_its_records_fault(given: dict[str, Any], said: str) -> None:
    """The client library would refuse it at the commit, where no record can be left out."""

    def forward(record: Record, context: Any) -> None:
        context.forward(value="before")
        context.forward(value="wrong", **(given if record.value == 2 else {}))

    with TopologyTestDriver(app_of(forward)) as driver:
        with pytest.raises(ProcessingError) as caught:
            driver.send("in", "k", 2)
        assert said in caught.value.message
        assert "step process-1" in caught.value.message
        assert (caught.value.topic, caught.value.offset) == ("in", 0)
    with TopologyTestDriver(app_of(forward), processing_error="skip") as driver:
        driver.send_many("in", [("a", 1), ("b", 2), ("c", 3)])
        assert [key for key, _value in driver.read("out")] == ["a", "a", "c", "c"]


def test_all_that_a_record_can_have_is_forwarded() -> None:
    headers: Any = [("a", b"1"), ("a", None), ("", b"")]

    def forward(record: Record, context: Any) -> None:
        context.forward(value="x", headers=headers, timestamp_ms=2**63 - 1)
        context.forward(value="y", headers=tuple(headers), timestamp_ms=0)
        context.forward(value="z", headers=[])

    with TopologyTestDriver(app_of(forward)) as driver:
        driver.send("in", "k", 1, at=7, headers=[("of", b"the record")])
        records = driver.read_records("out")
        assert [record.headers for record in records] == [headers, headers, []]
        assert [record.timestamp_ms for record in records] == [2**63 - 1, 0, 7]
