"""What leaves: headers, partitions, encodings, and the order of several sinks of one topic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, ProcessContext, ProcessingError, Record, TumblingWindows
from streamer.serdes import Json, MessagePack
from streamer.testing import TopologyTestDriver
from streamer.topology.partitioner import partition_of


@dataclass(frozen=True)
class Key:
    name: str
    number: int


def test_headers_pass_through_every_step() -> None:
    app = App("headers")
    stream = app.stream("in", key=str, value=int)
    stream.map_values(lambda n: n + 1, value=int).to("mapped")
    stream.flat_map(lambda k, n: [(k, n)] * n, key=str, value=int).to("flat")
    odd, even = stream.branch(lambda _k, n: n % 2, lambda _k, _n: True)
    odd.merge(even.map_values(lambda n: -n, value=int)).to("merged")
    stream.group_by_key().count(store="s", emit="every").to("counted")
    with TopologyTestDriver(app) as driver:
        for n in (1, 2):
            driver.send("in", "k", n, headers=[("n", b"%d" % n)])
        for topic, wanted in (
            ("mapped", [b"1", b"2"]),
            ("flat", [b"1", b"2", b"2"]),
            ("merged", [b"1", b"2"]),
            ("counted", [b"1", b"2"]),
        ):
            found = [dict(record.headers)["n"] for record in driver.read_records(topic)]
            assert found == wanted, topic


def test_several_sinks_of_a_topic_keep_the_order_of_records() -> None:
    app = App("shared")
    stream = app.stream("in", key=str, value=int)
    stream.filter(lambda _k, n: n % 2 == 0).to("out")
    stream.map_values(lambda n: n * 100, value=int).to("out")
    stream.filter(lambda _k, n: n % 2 == 1).to("out")
    with TopologyTestDriver(app) as driver:
        driver.send_many("in", [("k", n) for n in (1, 2, 3)])
        assert [n for _k, n in driver.read("out")] == [100, 1, 2, 200, 300, 3]


def test_rows_of_one_record_keep_their_order_over_branches_and_sinks() -> None:
    def split(_key: str, n: int) -> list[tuple[str, int]]:
        return [("k", n + more) for more in range(4)]

    def forward(record: Any, context: Any) -> None:
        for more in range(3):
            context.forward(value=record.value + more)

    app = App("spread")
    flat = app.stream("in", key=str, value=int).flat_map(split, key=str, value=int)
    even, odd = flat.branch(lambda _k, n: n % 2 == 0, lambda _k, _n: True)
    odd.merge(even).to("merged")
    odd.to("shared")
    even.to("shared")
    processed = flat.process(forward, value=int)
    small, large = processed.branch(lambda _k, n: n % 2 == 0, lambda _k, _n: True)
    large.map_values(lambda n: -n, value=int).merge(small).to("processed")
    with TopologyTestDriver(app) as driver:
        driver.send_many("in", [("k", 1), ("k", 10)])
        assert [n for _k, n in driver.read("merged")] == [1, 2, 3, 4, 10, 11, 12, 13]
        assert [n for _k, n in driver.read("shared")] == [1, 2, 3, 4, 10, 11, 12, 13]
        wanted = [n + more for n in (1, 2, 3, 4, 10, 11, 12, 13) for more in range(3)]
        assert [abs(n) for _k, n in driver.read("processed")] == wanted


def test_a_sink_may_choose_partitions_beside_one_that_does_not() -> None:
    app = App("chosen")
    stream = app.stream("in", key=str, value=int)
    stream.to("out", partition=lambda _key, n, count: n % count)
    stream.map_values(lambda n: n + 100, value=int).to("out")
    with TopologyTestDriver(app, partitions={"out": 4}) as driver:
        driver.send_many("in", [("k", n) for n in (1, 2, 3)])
        found = {record.value: record.partition for record in driver.read_records("out")}
    default = partition_of(b"k", 4)
    assert found == {1: 1, 2: 2, 3: 3, 101: default, 102: default, 103: default}


@pytest.mark.parametrize("choice", [-1, 4, None, "1"])
def test_a_partition_that_does_not_exist_is_refused(choice: Any) -> None:
    app = App("chosen")
    app.stream("in", key=str, value=int).to("out", partition=lambda *_: choice)
    with (
        TopologyTestDriver(app, partitions={"out": 4}) as driver,
        pytest.raises(ProcessingError, match=rf"returned {choice!r}, not 0 <= n < 4"),
    ):
        driver.send("in", "k", 1)


def test_results_with_a_partition_function_see_typed_values() -> None:
    app = App("chosen")
    app.stream("in", key=str, value=int).group_by_key().count(store="s", emit="every").to(
        "out", partition=lambda _key, count, partitions: count % partitions
    )
    with TopologyTestDriver(app, partitions={"out": 3}) as driver:
        driver.send_many("in", [("k", 1)] * 4)
        assert [record.partition for record in driver.read_records("out")] == [1, 2, 0, 1]


def test_all_windows_of_a_key_go_to_the_keys_partition() -> None:
    app = App("windows")
    app.stream("in", key=str, value=int).group_by_key().windowed_by(
        TumblingWindows(timedelta(milliseconds=10))
    ).count(store="w").to("out")
    with TopologyTestDriver(app, partitions={"out": 5}) as driver:
        for name in ("ann", "bob", "cat"):
            for at in range(0, 100, 10):
                driver.send("in", name, 1, at=at + 1_000)
        for record in driver.read_records("out"):
            assert record.partition == partition_of(record.key.key.encode(), 5)


@pytest.mark.parametrize("serde", [Json, MessagePack])
def test_typed_keys_are_the_same_at_every_place(serde: Any) -> None:
    app = App("typed")
    stream = app.stream("in", key=serde(Key), value=int)
    stream.map_values(lambda n: n, value=int).to("copied")
    stream.group_by_key().count(store="s").to("counted")
    stream.filter(lambda key, _n: key.number > 0).to("filtered")
    stream.group_by(lambda key, _n: key.name, key=str, name="names").count(store="names")
    with TopologyTestDriver(app, partitions=2) as driver:
        for number in (0, 1, 1):
            driver.send("in", Key("ann", number), 5)
        assert driver.read("copied") == [(Key("ann", n), 5) for n in (0, 1, 1)]
        assert dict(driver.store("s")) == {Key("ann", 0): 1, Key("ann", 1): 2}
        assert dict(driver.read("counted")) == dict(driver.store("s"))
        assert driver.read("filtered") == [(Key("ann", 1), 5)] * 2
        assert dict(driver.store("names")) == {"ann": 3}


def test_a_result_is_written_in_the_encoding_that_its_sink_asks_for() -> None:
    app = App("encodings")
    table = app.stream("in", key=str, value=int).group_by_key().count(store="s")
    table.to("json")
    table.to("packed", value=MessagePack(int))
    table.to("plain", value=int)
    with TopologyTestDriver(app) as driver:
        driver.send("in", "k", 1)
        raw = {name: driver.broker.records(name)[0].value for name in ("json", "packed", "plain")}
    assert raw == {"json": b"1", "packed": b"\x01", "plain": (1).to_bytes(8, "big")}


def test_untyped_results_are_json() -> None:
    app = App("untyped")
    app.stream("in", key=str, value=int).map(lambda k, n: ((k, n), {"n": n})).to("out")
    with TopologyTestDriver(app) as driver:
        driver.send("in", "k", 1)
        (record,) = driver.broker.records("out")
    assert (record.key, record.value) == (b'["k",1]', b'{"n":1}')


@pytest.mark.parametrize(
    ("forwarded", "types", "written"),
    [
        ("v", {}, (b"k", b'"v"')),
        (b"\xff\x00v", {}, (b"k", b'"/wB2"')),
        ("v", {"value": str}, (b"k", b"v")),
        ("v", {"value": MessagePack(str)}, (b"k", b"\xa1v")),
        (b"\xff\x00v", {"key": Json(str), "value": bytes}, (b'"k"', b"\xff\x00v")),
    ],
)
def test_the_decorator_writes_what_a_process_step_and_a_sink_write(
    forwarded: Any, types: dict[str, Any], written: tuple[bytes, bytes]
) -> None:
    def forward(_record: Record, context: ProcessContext) -> None:
        context.forward(value=forwarded)

    app = App("decorated")
    to = {f"to_{role}": given for role, given in types.items()}
    app.process("in", key=str, value=int, to="decorated", **to)(forward)
    app.stream("in2", key=str, value=int).process(forward, **types).to("chained")
    with TopologyTestDriver(app) as driver:
        for topic in ("in", "in2"):
            driver.send(topic, "k", 1)
        for topic in ("decorated", "chained"):
            (record,) = driver.broker.records(topic)
            assert (record.key, record.value) == written


def test_a_result_that_its_number_cannot_hold_is_named() -> None:
    app = App("numbers")
    app.stream("in", key=str, value=str).map_values(lambda text: text, value=int).to("out")
    with TopologyTestDriver(app) as driver:
        with pytest.raises(ProcessingError) as caught:
            driver.send("in", "k", "text")
        assert "SerdeError in step sink-2: int64 cannot hold 'text' (str)" in caught.value.message
