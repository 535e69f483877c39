"""A record that fails in one of its windows is left out of all of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, Count, HoppingWindows, Min, SessionWindows, Sum
from streamer.kafka.api import AbortableError
from streamer.serdes import MessagePack
from streamer.testing import TopologyTestDriver
from tests.unit.engine.rig import Rig

MINUTE = timedelta(minutes=1)
HOPPING = HoppingWindows(2 * MINUTE, MINUTE, grace=10 * MINUTE)
SKIP = {"processing_error": "skip"}
DEAD = {"processing_error": "dead_letter", "dead_letter_topic": "dead"}
LIMIT = 10
Records = Sequence[tuple[str, Any, int]]


def pure(_key: str, value: int, total: int) -> int | None:
    if total + value > LIMIT:
        raise ValueError("limit")
    return None if value == 0 else total + value


def in_place(_key: str, value: int, total: list[int]) -> list[int]:
    total.append(value)
    if sum(total) > LIMIT:
        raise ValueError("limit")
    return total


def reducing(one: int, other: int) -> int:
    return pure("", other, one) or 0


def unstorable(_key: str, value: int, total: int) -> Any:
    return object() if total + value > LIMIT else total + value


FOLDS: dict[str, Callable[..., Any]] = {
    "pure": lambda windowed, emit: windowed.aggregate(int, pure, store="w", value=int, emit=emit),
    "in place": lambda windowed, emit: windowed.aggregate(
        list, in_place, store="w", value=list[int], emit=emit
    ),
    "reduce": lambda windowed, emit: windowed.reduce(reducing, store="w", emit=emit),
    "unstorable": lambda windowed, emit: windowed.aggregate(
        int, unstorable, store="w", value=int, emit=emit
    ),
}


def app_of(fold: str, emit: Any = "commit", windows: Any = HOPPING, *, copies: int = 1) -> App:
    app = App("many")
    stream: Any = app.stream("in", key=str, value=int)
    if copies > 1:
        stream = stream.flat_map_values(lambda value: [value] * copies, value=int)
    FOLDS[fold](stream.group_by_key().windowed_by(windows), emit).stream().to("out")
    return app


def run(app: App, records: Records, *, size: int, **settings: str) -> Rig:
    """Batches of so many records, with a commit behind each; what is aborted is done again."""
    rig = Rig(app, **settings)
    for start in range(0, len(records), size):
        part = records[start : start + size]
        for _ in range(3):
            first = dict(rig.offsets)
            try:
                rig.run("in", part)
                rig.commit()
                break
            except AbortableError:
                rig.abort()
                rig.offsets = first
        else:
            raise AssertionError("aborted for ever")
    return rig


def values(rig: Rig) -> dict[tuple[str, int], Any]:
    return {
        (key[8:].decode(), int.from_bytes(key[:8], "big")): value
        for key, (value, _stamp) in rig.rows("w").items()
    }


def last(rig: Rig) -> dict[Any, Any]:
    return {key: (value, stamp) for key, value, stamp, _headers in rig.sent("out")}


@pytest.mark.parametrize("emit", ["commit", "every"])
def test_a_dead_letter_is_counted_in_no_window(emit: str) -> None:
    with TopologyTestDriver(app_of("pure", emit), **DEAD) as driver:
        driver.send("in", "a", 8, at=120_000)
        driver.send("in", "a", 5, at=60_000)
        found = {key.start_ms: value for key, value in driver.store("w").items()}
        assert found == {60_000: 8, 120_000: 8}
        assert [key for key, _value in driver.read("dead")] == [b"a"]
        assert [value for _key, value in driver.read("out")] == [8, 8]


def test_a_record_that_was_made_of_the_same_one_stays() -> None:
    """The second copy of the 3 has no room in window 0; the first one had in both."""
    rig = run(app_of("pure", copies=2), [("a", 3, 0), ("a", 3, 60_000)], size=9, **SKIP)
    assert values(rig) == {("a", 0): 9, ("a", 60_000): 3}


def model(records: Records) -> dict[tuple[str, int], int]:
    """The sums, where a record that one window has no room for is in none."""
    sums: dict[tuple[str, int], int] = {}
    for key, value, stamp in records:
        newest = stamp - stamp % 60_000
        places = [(key, start) for start in (newest - 60_000, newest) if start >= 0]
        if all(sums.get(place, 0) + value <= LIMIT for place in places):
            sums.update({place: sums.get(place, 0) + value for place in places})
    return sums


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("emit", ["commit", "every", "final"])
@pytest.mark.parametrize("seed", range(5))
def test_batches_leave_out_what_single_records_leave_out(fold: str, emit: str, seed: int) -> None:
    chance = random.Random(seed)
    records = [
        (chance.choice("ab"), chance.randint(1, 8), chance.randrange(8) * 30_000)
        for _ in range(chance.randrange(4, 24))
    ]
    if fold == "reduce":  # It is not asked about the first value: that fits.
        records = [(key, min(value, 5), stamp) for key, value, stamp in records]
    single = run(app_of(fold, emit), records, size=1, **SKIP)
    sums = {place: sum(v) if isinstance(v, list) else v for place, v in values(single).items()}
    assert sums == model(records)
    for size in (3, 99):
        batched = run(app_of(fold, emit), records, size=size, **SKIP)
        assert batched.rows("w") == single.rows("w")
        assert batched.times == single.times
        if emit == "every":
            assert batched.sent("out") == single.sent("out")
        else:
            assert last(batched) == last(single)


# -- built-in aggregates ---------------------------------------------------------------------------

APART = [("a", 1, 120_000), ("a", "x", 60_000), ("a", 2, 60_000)]
HUGE = [("a", 1e308, 120_000), ("a", 1e308, 60_000), ("a", 1.0, 60_000)]


@pytest.mark.parametrize("size", [1, 9])
@pytest.mark.parametrize("emit", ["commit", "every"])
@pytest.mark.parametrize(
    ("aggregate", "records", "wanted"),
    [(Min("x"), APART, {0: 2, 60_000: 1, 120_000: 1}), (Sum("x"), HUGE, {0: 1.0, 120_000: 1e308})],
)
def test_a_built_in_aggregate_counts_it_in_no_window(
    aggregate: Any, records: Records, wanted: dict[int, Any], emit: Any, size: int
) -> None:
    app = App("built-in")
    app.stream("in", key=str, value=dict).group_by_key().windowed_by(HOPPING).aggregate(
        {"n": Count(), "x": aggregate}, store="w", emit=emit
    ).stream().to("out")
    given = [(key, {"x": value}, stamp) for key, value, stamp in records]
    rig = run(app, given, size=size, **SKIP)
    found = {start: value for (_key, start), value in values(rig).items()}
    counts = {start: value.n for start, value in found.items()}
    assert counts == {0: 1, 60_000: 2, 120_000: 1}
    assert wanted.items() <= {start: value.x for start, value in found.items()}.items()
    if emit == "every":
        assert len(rig.sent("out")) == 4


@dataclass
class Total:
    x: int = 0


@pytest.mark.parametrize("emit", ["commit", "every"])
@pytest.mark.parametrize("windows", [None, HOPPING])
def test_a_result_that_its_serde_cannot_hold_is_taken_back(emit: Any, windows: Any) -> None:
    """MessagePack has no integer of more than 64 bits; that is found where it is encoded."""
    app = App("too-much")
    grouped: Any = app.stream("in", key=str, value=dict).group_by_key()
    if windows is not None:
        grouped = grouped.windowed_by(windows)
    grouped.aggregate({"x": Sum("x")}, store="w", value=MessagePack(Total), emit=emit).to("out")
    given = [("a", {"x": value}, 60_000) for value in (2**63, 2**63, 5)]
    rig = run(app, given, size=9, **SKIP)
    assert {value.x for value, _stamp in rig.rows("w").values()} == {2**63 + 5}
    assert {value.x for _key, value, *_ in rig.sent("out")} == (
        {2**63, 2**63 + 5} if emit == "every" else {2**63 + 5}
    )


# -- sessions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 9])
@pytest.mark.parametrize("emit", ["commit", "every"])
def test_a_record_that_cannot_join_sessions_leaves_them_as_they_are(emit: Any, size: int) -> None:
    def merged(_key: str, one: list[int], other: list[int]) -> list[int]:
        one.extend(other)
        return one

    app = App("sessions")
    app.stream("in", key=str, value=int).group_by_key().windowed_by(
        SessionWindows(MINUTE, grace=10 * MINUTE)
    ).aggregate(list, in_place, merge=merged, value=list[int], store="w", emit=emit).to("out")
    records = [("a", 4, 0), ("a", 5, 120_000), ("a", 3, 60_000), ("a", 1, 60_000)]
    rig = run(app, records, size=size, **SKIP)
    assert [value for value, _stamp in rig.rows("w").values()] == [[4, 5, 1]]
