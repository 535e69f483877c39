"""A key that its serde cannot decode never becomes a row, also where no step looks at keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from streamer import (
    App,
    Count,
    HoppingWindows,
    ProcessingError,
    SessionWindows,
    Stream,
    TumblingWindows,
)
from streamer.serdes import Json
from streamer.testing import TopologyTestDriver

SKIP = {"deserialization_error": "skip"}
DEAD = {"deserialization_error": "dead_letter", "dead_letter_topic": "dead"}
SECOND = timedelta(seconds=1)

GROUPED: dict[str, Callable[[Stream], Any]] = {
    "built-in": lambda s: s.group_by_key().aggregate({"n": Count()}, store="s"),
    "reduce": lambda s: s.group_by_key().reduce(lambda a, b: b, store="s"),
    "behind map_values": lambda s: (
        s.map_values(str.upper, value=str).group_by_key().reduce(lambda a, b: b, store="s")
    ),
    "windows": lambda s: (
        s.group_by_key().windowed_by(TumblingWindows(SECOND)).aggregate({"n": Count()}, store="s")
    ),
    "hopping windows": lambda s: (
        s.group_by_key()
        .windowed_by(HoppingWindows(2 * SECOND, SECOND))
        .aggregate({"n": Count()}, store="s")
    ),
    "sessions": lambda s: (
        s.group_by_key().windowed_by(SessionWindows(SECOND)).reduce(lambda a, b: b, store="s")
    ),
    "every": lambda s: s.group_by_key().aggregate({"n": Count()}, store="s", emit="every"),
}


def app_of(name: str, key: Any = int) -> App:
    app = App("keys")
    if name == "table":
        app.table("in", key=key, value=str, store="s")
    else:
        GROUPED[name](app.stream("in", key=key, value=str))
    return app


KEYS = [*GROUPED, "table"]


@pytest.mark.parametrize("name", KEYS)
def test_a_record_whose_key_cannot_be_a_row_fails(name: str) -> None:
    with TopologyTestDriver(app_of(name)) as driver:
        driver.send("in", 1, "x", at=0)
        with pytest.raises(ProcessingError) as caught:
            driver.send("in", b"123", "x", at=1)
        assert "int64 takes 8 bytes, not 3" in caught.value.message
        assert "deserialization_error" in caught.value.hint
        assert (caught.value.offset, caught.value.key) == (1, b"123")
        assert {getattr(key, "key", key) for key in driver.store("s")} == {1}


@pytest.mark.parametrize("name", KEYS)
def test_it_alone_is_left_out_and_written_once(name: str) -> None:
    with TopologyTestDriver(app_of(name), **DEAD) as driver:
        records = [(1, "a", 3000), (b"bad", "b", 3001), (2, "c", 3002), (b"bad", "d", 3003)]
        driver.send_many("in", records)
        driver.send("in", b"bad", "e", at=3004)
        driver.send_many("in", [(b"worse", "f", 3005), (3, "g", 3006)])
        shown = {getattr(key, "key", key) for key in driver.store("s")}
        assert shown == {1, 2, 3}
        letters = driver.read_records("dead")
        assert [letter.value for letter in letters] == [b"b", b"d", b"e", b"f"]
        assert [letter.key for letter in letters] == [b"bad", b"bad", b"bad", b"worse"]


def test_what_was_committed_is_read_again_behind_a_crash() -> None:
    with TopologyTestDriver(app_of("built-in"), **SKIP) as driver:
        for key in (1, b"bad", 1):
            driver.send("in", key, "x")
        driver.crash(lose_disk=True)
        driver.send_many("in", [(1, "x"), (b"bad", "x"), (2, "x")])
        counts = {key: value.n for key, value in driver.store("s").items()}
        assert counts == {1: 3, 2: 1}


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [(str, "a", b"\xff"), (float, 1.5, b"x"), (Json(list[int]), [1], b"{"), (dict, {"a": 1}, b"1")],
)
def test_keys_of_every_type_are_looked_at(key: Any, good: Any, bad: bytes) -> None:
    with TopologyTestDriver(app_of("reduce", key=key), **SKIP) as driver:
        driver.send_many("in", [(bad, "no"), (good, "yes")])
        assert len(driver.store("s")) == 1
        assert driver.store("s")[good] == "yes"


def test_any_bytes_are_a_key_of_bytes() -> None:
    with TopologyTestDriver(app_of("reduce", key=bytes)) as driver:
        driver.send("in", b"\xff", "x")
        assert dict(driver.store("s").items()) == {b"\xff": "x"}


def test_a_key_that_nobody_looks_at_passes_through_as_it_is() -> None:
    app = App("keys")
    app.stream("in", key=int, value=str).map_values(str.upper, value=str).to("out")
    with TopologyTestDriver(app) as driver:
        driver.send("in", b"123", "x")
        assert [record.key for record in driver.broker.records("out")] == [b"123"]


def test_a_key_at_hand_is_not_decoded_again() -> None:
    """What a check costs is one call for each key that a store does not have at hand."""
    calls: list[bytes] = []

    class Counted:
        name = "counted"
        type = str

        def encode(self, key: str) -> bytes:
            return key.encode()

        def decode(self, data: bytes) -> str:
            calls.append(data)
            return data.decode()

    app = App("keys")
    stream = app.stream("in", key=Counted(), value=str)
    stream.group_by_key().aggregate({"n": Count()}, store="s")
    with TopologyTestDriver(app) as driver:
        driver.send_many("in", [(key, "x") for key in "abab" * 50])
        driver.send_many("in", [(key, "x") for key in "abab" * 50])
        assert sorted(calls) == [b"a", b"b"]
        assert {key: row.n for key, row in driver.store("s").items()} == {"a": 200, "b": 200}
