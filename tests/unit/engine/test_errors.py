"""A record that fails: which one is named, what is kept, and what goes to the dead letter topic."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from streamer import (
    App,
    Count,
    HoppingWindows,
    ProcessingError,
    Record,
    SessionWindows,
    Store,
    StreamerError,
    Sum,
)
from streamer.ids import TaskId
from streamer.testing import TopologyTestDriver

SKIP = {"processing_error": "skip"}
DEAD = {"processing_error": "dead_letter", "dead_letter_topic": "dead"}


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


@dataclass
class Item:
    n: int
    name: str = ""


def check(item: Item) -> None:
    if item.n == 13:
        raise ValueError("thirteen")
    if item.n == 14:
        sys.exit("fourteen")


def checked(item: Item) -> Item:
    check(item)
    return item


def pure(_key: str, item: Item, total: int) -> int:
    check(item)
    return total + item.n


def in_place(_key: str, item: Item, total: list[int]) -> list[int]:
    total.append(item.n)
    check(item)
    return total


def reducing(one: Item, other: Item) -> Item:
    check(other)
    return Item(one.n + other.n)


def processing(record: Record, context: Any) -> None:
    context.forward(value=record.value)
    check(record.value)


def joining(item: Item, _other: Any) -> Item:
    return checked(item)


def choosing(_key: str, item: Item, count: int) -> int:
    check(item)
    return item.n % count


def on_stream(step: Callable[[Any], Any]) -> Callable[[], App]:
    def build() -> App:
        app = App("failing")
        step(app.stream("in", key=str, value=Item)).to("out", key=str, value=Item)
        return app

    return build


def on_groups(step: Callable[[Any], Any]) -> Callable[[], App]:
    def build() -> App:
        app = App("failing")
        step(app.stream("in", key=str, value=Item).group_by_key()).to("out")
        return app

    return build


def left_join() -> App:
    app = App("failing")
    table = app.table("table", key=str, value=Item, store="known")
    app.stream("in", key=str, value=Item).left_join(table, joining).to("out", value=Item)
    return app


def partition() -> App:
    app = App("failing")
    app.stream("in", key=str, value=Item).to("out", partition=choosing)
    return app


APPS: dict[str, Callable[[], App]] = {
    "filter": on_stream(lambda s: s.filter(lambda _k, item: checked(item) is item)),
    "map_values": on_stream(lambda s: s.map_values(checked)),
    "map": on_stream(lambda s: s.map(lambda k, item: (k, checked(item)))),
    "flat_map": on_stream(lambda s: s.flat_map(lambda k, item: iter([(k, checked(item))]))),
    "flat_map_values": on_stream(lambda s: s.flat_map_values(lambda item: iter([checked(item)]))),
    "select_key": on_stream(lambda s: s.select_key(lambda k, item: checked(item) and k)),
    "peek": on_stream(lambda s: s.peek(lambda _k, item: check(item))),
    "branch": on_stream(lambda s: s.branch(lambda _k, item: checked(item) is item)[0]),
    "process": on_stream(lambda s: s.process(processing, value=Item)),
    "aggregate": on_groups(lambda g: g.aggregate(int, pure, store="s", emit="every")),
    "in place": on_groups(lambda g: g.aggregate(list, in_place, value=list[int], store="s")),
    "reduce": on_groups(lambda g: g.reduce(reducing, store="s", emit="every")),
    "hopping": on_groups(
        lambda g: g.windowed_by(HoppingWindows(ms(10), ms(5))).aggregate(
            int, pure, store="s", emit="every"
        )
    ),
    "session": on_groups(
        lambda g: g.windowed_by(SessionWindows(ms(10))).aggregate(
            int, pure, merge=lambda _k, one, other: one + other, store="s", emit="every"
        )
    ),
    "left_join": left_join,
    "partition": partition,
}


def send(driver: TopologyTestDriver, *numbers: int) -> None:
    records = [("k", Item(n), number + 20) for number, n in enumerate(numbers)]
    driver.send_many("in", records)


BAD = {13: r"ValueError in step .*: thirteen", 14: r"SystemExit in step .*: fourteen"}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", APPS)
def test_by_default_the_task_stops_and_names_the_record(name: str, bad: int) -> None:
    with TopologyTestDriver(APPS[name](), partitions={"out": 2}) as driver:
        send(driver, 1)
        written = driver.read("out")
        with pytest.raises(ProcessingError, match=BAD[bad]) as caught:
            send(driver, 2, bad, 3)
        error = caught.value
        assert (error.topic, error.partition, error.offset, error.key) == ("in", 0, 2, b"k")
        assert "skip or dead_letter" in error.hint
        assert driver.failures == {TaskId(0, 0): error}
        assert driver.read("out") == written
        send(driver, 4)
        assert driver.read("out") == written


@pytest.mark.slow
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", APPS)
@pytest.mark.parametrize("policy", [SKIP, DEAD], ids=["skip", "dead letter"])
def test_the_other_records_are_processed_as_if_it_had_not_been(
    name: str, policy: dict[str, str], bad: int
) -> None:
    good = [n for n in range(1, 12)]
    # `partition` fails in its sink, where production_error decides.
    settings = {**policy, "production_error": policy["processing_error"]}
    with (
        TopologyTestDriver(APPS[name](), partitions={"out": 2}) as clean,
        TopologyTestDriver(APPS[name](), partitions={"out": 2}, **settings) as driver,
    ):
        for number, n in enumerate(good):
            stamp = 20 + number
            clean.send("in", "k", Item(n), at=stamp)
        driver.send_many("in", [("k", Item(n), 20 + at) for at, n in enumerate(good[:3])])
        with_bad = [("k", Item(n), 23 + at) for at, n in enumerate(good[3:8])]
        driver.send_many("in", [*with_bad[:2], ("k", Item(bad), 25), *with_bad[2:]])
        driver.send_many("in", [("k", Item(n), 28 + at) for at, n in enumerate(good[8:])])
        assert driver.failures == {}
        key = driver.read("out")[-1][0]
        last = [value for k, value in driver.read("out") if k == key]
        assert last[-1] == [value for k, value in clean.read("out") if k == key][-1]
        if name != "left_join" and driver._stage.topology.stores:
            assert dict(driver.store("s")) == dict(clean.store("s"))


def test_a_dead_letter_carries_the_record_and_the_cause_once() -> None:
    app = APPS["hopping"]()
    with TopologyTestDriver(app, partitions={"in": 2}, **DEAD) as driver:
        driver.send("in", "k", Item(13), at=21, headers=[("trace", b"7")], partition=1)
        (letter,) = driver.read_records("dead")
    assert (letter.key, letter.value) == (b"k", b'{"n":13,"name":""}')
    headers = dict(letter.headers)
    assert headers["trace"] == b"7"
    shown = {
        name.removeprefix("__streamer.errors."): value.decode()
        for name, value in headers.items()
        if value is not None and name.startswith("__streamer")
    }
    assert shown == {
        "exception": "builtins.ValueError",
        "message": "thirteen",
        "place": "step aggregate-1",
        "task": "0_1",
        "topic": "in",
        "partition": "1",
        "offset": "0",
        "timestamp": "21",
    }


def test_a_dead_letter_of_an_aborted_transaction_is_written_by_the_next() -> None:
    with TopologyTestDriver(APPS["map_values"](), auto_commit=False, **DEAD) as driver:
        driver.send("in", "k", Item(13))
        driver.process()
        driver.crash()
        assert driver.read("dead") == []
        driver.send("in", "k", Item(1))
        driver.commit()
        assert driver.read("dead") == [(b"k", b'{"n":13,"name":""}')]
        assert driver.read("out") == [("k", Item(1))]


@pytest.mark.parametrize("seed", range(6))
def test_dead_letters_are_there_once_whatever_happens(seed: int) -> None:
    with TopologyTestDriver(APPS["in place"](), seed=seed, **DEAD) as driver:
        driver.send_many("in", [("k", Item(n)) for n in (1, 13, 2, 13, 3, 13)])
        assert len(driver.read("dead")) == 3
        assert driver.store("s")["k"] == [1, 2, 3]


@pytest.mark.parametrize("part", ["key", "value"])
def test_a_record_that_cannot_be_decoded_is_named_by_offset(part: str) -> None:
    app = App("poison")
    app.stream("in", key=str, value=Item).map(lambda k, item: (k, item)).to(
        "out", key=str, value=Item
    )
    key, value = (b"\xff", Item(1)) if part == "key" else ("k", b"{not json")
    with TopologyTestDriver(app) as driver:
        driver.send("in", "k", Item(1))
        with pytest.raises(ProcessingError, match=f"decoding its {part}") as caught:
            driver.send_many("in", [("k", Item(2)), (key, value), ("k", Item(3))])
        assert (caught.value.topic, caught.value.offset) == ("in", 2)
        assert "deserialization_error" in caught.value.hint
    with TopologyTestDriver(
        app, deserialization_error="dead_letter", dead_letter_topic="dead"
    ) as driver:
        driver.send_many("in", [("k", Item(2)), (key, value), ("k", Item(3))])
        assert driver.read("out") == [("k", Item(2)), ("k", Item(3))]
        assert len(driver.read("dead")) == 1


def test_a_record_whose_key_and_value_cannot_be_decoded_is_one_dead_letter() -> None:
    app = App("poison")
    app.stream("in", key=str, value=Item).map(lambda k, item: (k, item)).to("out", value=Item)
    with TopologyTestDriver(
        app, deserialization_error="dead_letter", dead_letter_topic="dead"
    ) as driver:
        driver.send("in", b"\xff", b"{")
        assert driver.read("dead") == [(b"\xff", b"{")]


def test_a_result_that_cannot_be_encoded_names_its_source_record() -> None:
    app = App("encode")
    app.stream("in", key=str, value=Item).map_values(
        lambda item: object() if item.n == 13 else item.n, value=int
    ).to("out")
    with TopologyTestDriver(app) as driver:
        with pytest.raises(ProcessingError, match="in step sink-2") as caught:
            driver.send_many("in", [("k", Item(1)), ("k", Item(13))])
        assert caught.value.offset == 1
        assert "production_error" in caught.value.hint
    with TopologyTestDriver(app, production_error="skip") as driver:
        driver.send_many("in", [("k", Item(1)), ("k", Item(13)), ("k", Item(2))])
        assert driver.read("out") == [("k", 1), ("k", 2)]


def test_an_aggregate_that_cannot_be_stored_names_store_and_key() -> None:
    app = App("encode")
    app.stream("in", key=str, value=Item).group_by_key().aggregate(
        int, lambda _k, item, total: object() if item.n == 13 else total + item.n, store="totals"
    )
    with TopologyTestDriver(app) as driver:
        driver.send("in", "k", Item(1))
        with pytest.raises(StreamerError, match=r"store 'totals' cannot hold .* key b'k'"):
            driver.send("in", "k", Item(13))
        assert driver.store("totals")["k"] == 1


def test_an_aggregate_that_cannot_be_stored_is_skipped_where_that_is_the_policy() -> None:
    app = App("encode")
    app.stream("in", key=str, value=Item).group_by_key().aggregate(
        int, lambda _k, item, total: object() if item.n == 13 else total + item.n, store="totals"
    )
    with TopologyTestDriver(app, **DEAD) as driver:
        driver.send_many("in", [("k", Item(1)), ("k", Item(13)), ("k", Item(2)), ("j", Item(4))])
        assert dict(driver.store("totals")) == {"k": 3, "j": 4}
        assert [value for _key, value in driver.read("dead")] == [b'{"n":13,"name":""}']


def test_what_a_process_step_cannot_store_fails_at_its_record() -> None:
    app = App("encode")

    def keep(record: Record, context: Any) -> None:
        context.store("kept").put(record.key, object() if record.value.n == 13 else record.value.n)

    app.stream("in", key=str, value=Item).process(keep, stores=[Store("kept", str, int)])
    with (
        TopologyTestDriver(app) as driver,
        pytest.raises(ProcessingError) as caught,
    ):
        driver.send_many("in", [("k", Item(1)), ("k", Item(13))])
    assert caught.value.offset == 1


def test_a_missing_field_of_a_built_in_aggregate_changes_nothing() -> None:
    app = App("fields")
    app.stream("in", key=str, value=dict).group_by_key().aggregate(
        {"count": Count(), "sum": Sum("n")}, store="s"
    )
    with TopologyTestDriver(app, **SKIP) as driver:
        driver.send_many("in", [("k", {"n": 1}), ("k", {}), ("k", {"n": "x"}), ("k", {"n": 2})])
        found = driver.store("s")["k"]
        assert (found.count, found.sum) == (2, 3)


def test_a_function_that_raises_stop_iteration_loses_nothing() -> None:
    app = App("stop")
    app.stream("in", key=str, value=Item).map_values(
        lambda item: next(iter([])) if item.n == 13 else item.n, value=int
    ).to("out")
    with TopologyTestDriver(app, **SKIP) as driver:
        driver.send_many("in", [("k", Item(n)) for n in (1, 13, 2)])
        assert driver.read("out") == [("k", 1), ("k", 2)]


def test_one_task_fails_and_the_others_go_on() -> None:
    with TopologyTestDriver(APPS["map_values"](), partitions={"in": 2}) as driver:
        driver.send("in", "k", Item(1), partition=0)
        with pytest.raises(ProcessingError):
            driver.send("in", "k", Item(13), partition=1)
        driver.send("in", "k", Item(2), partition=0)
        driver.send("in", "k", Item(3), partition=1)
        assert driver.read("out") == [("k", Item(1)), ("k", Item(2))]
        assert set(driver.failures) == {TaskId(0, 1)}


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_failing_punctuation_stops_its_task(error: type[BaseException]) -> None:
    class Failing:
        def open(self, context: Any) -> None:
            context.schedule(ms(10), self.fire)

        def fire(self, now_ms: int) -> None:
            raise error(f"at {now_ms}")

        def process(self, record: Record, context: Any) -> None:
            pass

    app = App("punctual")
    app.stream("in", key=str, value=Item).process(Failing)
    with TopologyTestDriver(app, **SKIP) as driver:
        driver.send("in", "k", Item(1), at=5)
        with pytest.raises(ProcessingError, match=f"{error.__name__} in task 0_0: at 12"):
            driver.send("in", "k", Item(1), at=12)
