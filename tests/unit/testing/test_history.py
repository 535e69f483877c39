"""The history checker must be able to fail: each kind of wrong history, and what it says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import pytest

from streamer import App, Count, Sum, TumblingWindows
from streamer.ids import TopicPartition
from streamer.record import Record
from streamer.testing import (
    History,
    TopologyTestDriver,
    Verdict,
    check,
    driver_history,
    per_key,
)
from streamer.topology.windows import Windowed

PLACE = TopicPartition("in", 0)


def total(_key: str, value: int, before: int) -> int:
    return before + value


MODEL = per_key(int, total)


def records(*pairs: tuple[Any, Any], partition: int = 0) -> list[Record]:
    return [
        Record(key, value, 0, partition=partition, offset=offset)
        for offset, (key, value) in enumerate(pairs)
    ]


INPUTS = records(("a", 1), ("b", 10), ("a", 2), ("a", 4), (None, 9), ("b", None))
RIGHT = [("a", 1), ("b", 10), ("a", 3), ("a", 7)]


def judged(*outputs: tuple[Any, Any], emit: Literal["commit", "every", "final"]) -> Verdict:
    return check(History(INPUTS, records(*outputs)), MODEL, emit=emit)


@pytest.mark.parametrize(
    ("emit", "outputs"),
    [
        ("every", RIGHT),
        ("commit", RIGHT),
        ("commit", [("b", 10), ("a", 7)]),
        ("commit", [("a", 3), ("a", 7), ("b", 10)]),
        ("final", [("a", 7), ("b", 10)]),
    ],
)
def test_a_right_history_is_right(emit: Any, outputs: list[tuple[Any, Any]]) -> None:
    verdict = judged(*outputs, emit=emit)
    assert verdict
    assert str(verdict) == f"right: 6 inputs, {len(outputs)} outputs, 2 keys; compared: outputs"


@pytest.mark.parametrize(
    ("emit", "outputs", "kind", "said"),
    [
        ("every", [("a", 1), ("a", 7), ("b", 10)], "lost", "1 results are missing: key 'a'"),
        ("every", [("a", 1), ("a", 3), ("a", 7)], "lost", "1 results are missing: key 'b'"),
        ("every", [*RIGHT, ("b", 10)], "doubled", "10 came more than once: key 'b'"),
        ("every", [("a", 3), ("a", 1), *RIGHT[1:2], ("a", 7)], "reordered", "key 'a'"),
        ("every", [*RIGHT[:3], ("a", 8)], "wrong", "a result that never was, 8: key 'a'"),
        ("every", [*RIGHT, ("c", 1)], "extra", "key 'c' has results, but no input: [1]"),
        ("commit", [("a", 3), ("b", 10)], "lost", "the last result is missing: key 'a'"),
        ("commit", [("a", 7)], "lost", "the last result is missing: key 'b'"),
        ("commit", [("a", 3), ("a", 3), ("a", 7), ("b", 10)], "doubled", "3 came more than once"),
        ("commit", [("a", 7), ("a", 3), ("b", 10)], "reordered", "key 'a'"),
        ("commit", [("a", 3), ("a", 7), ("a", 11), ("b", 10)], "wrong", "never was, 11: key 'a'"),
        ("final", [("a", 3), ("a", 7), ("b", 10)], "wrong", "never was, 3: key 'a'"),
        ("final", [("a", 7), ("a", 7), ("b", 10)], "doubled", "7 came more than once"),
        ("final", [("a", 7)], "lost", "1 results are missing: key 'b'"),
    ],
)
def test_each_fault_has_its_name(
    emit: Any, outputs: list[tuple[Any, Any]], kind: str, said: str
) -> None:
    verdict = judged(*outputs, emit=emit)
    assert not verdict
    assert verdict.kinds == {kind: 1}
    assert said in str(verdict)
    assert str(verdict).startswith(f"WRONG: 1 {kind} (6 inputs, {len(outputs)} outputs, 2 keys)")


def test_the_first_keys_are_shown_in_full_and_the_others_counted() -> None:
    inputs = records(*((f"k{n}", n) for n in range(9)))
    text = str(check(History(inputs, records(("k0", 0))), MODEL))
    assert text.splitlines()[:4] == [
        "WRONG: 8 lost (9 inputs, 1 outputs, 9 keys)",
        "  lost: the last result is missing: key 'k1'",
        "    expected 1",
        "    found    nothing",
    ]
    assert text.splitlines()[-1] == "  and 3 more"


def test_results_of_a_key_in_two_partitions_are_misplaced() -> None:
    outputs = records(("a", 1), ("a", 3), ("b", 10)) + records(("a", 7), partition=1)
    verdict = check(History(INPUTS, outputs), MODEL, emit="every")
    assert verdict.kinds == {"misplaced": 1}
    assert "results of key 'a' lie in partitions 0, 1" in str(verdict)


@pytest.mark.parametrize("name", ["state", "changelog"])
@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"a": 7}, "the {} lacks key 'b': expected 10"),
        ({"a": 3, "b": 10}, "the {} of key 'a': expected 7, found 3"),
        ({"a": 7, "b": 10, "c": 1}, "the {} has key 'c' too many: 1"),
    ],
)
def test_state_and_changelog_must_be_the_models(name: str, held: dict[str, int], said: str) -> None:
    history = replace(History(INPUTS), **{name: held})  # type: ignore[arg-type]
    verdict = check(history, MODEL)
    assert verdict.kinds == {"state": 1}
    assert said.format(name) in str(verdict)
    assert verdict.checked == [name]


def test_positions_must_be_at_the_ends() -> None:
    def positions(committed: dict[TopicPartition, int], end: int) -> Verdict:
        return check(History(INPUTS, committed=committed, ends={PLACE: end}), MODEL)

    assert positions({PLACE: 6}, 6)
    assert positions({}, 0)
    assert "in/0 ends at 6, committed is 5" in str(positions({PLACE: 5}, 6))
    assert "in/0 ends at 6, and nothing is committed" in str(positions({}, 6))
    assert positions({}, 6).kinds == {"offsets": 1}


def test_what_the_state_must_hold_may_be_told() -> None:
    history = History(INPUTS, state={"a": 7})
    assert check(history, MODEL, final={"a": 7, "b": None})
    assert not check(history, MODEL)


def test_a_model_may_change_its_aggregate_in_place() -> None:
    @dataclass
    class Sums:
        values: list[int]

    def add(_key: str, value: int, sums: Sums) -> Sums:
        sums.values.append(value)
        return sums

    results = per_key(lambda: Sums([]), add)(INPUTS)
    assert results["a"] == [Sums([1]), Sums([1, 2]), Sums([1, 2, 4])]


# -- of real runs ----------------------------------------------------------------------------------


def app() -> App:
    app = App("checked")
    grouped = app.stream("in", key=str, value=int).group_by_key()
    grouped.aggregate(int, total, store="totals").to("out")
    grouped.windowed_by(TumblingWindows(timedelta(milliseconds=10))).reduce(
        lambda one, other: one + other, store="windows", emit="final"
    ).to("closed")
    return app


def sent(driver: TopologyTestDriver) -> None:
    for number in range(40):
        driver.send("in", f"k{number % 7}", number, at=number)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_history_of_a_driver_is_right(seed: int | None) -> None:
    with TopologyTestDriver(app(), partitions=2, seed=seed) as driver:
        sent(driver)
        history = driver_history(driver, inputs="in", output="out", store="totals")
        verdict = check(history, MODEL)
        assert verdict, verdict
        assert verdict.checked == ["outputs", "state", "changelog", "positions"]
        assert (verdict.inputs, verdict.keys) == (40, 7)
        closed = driver_history(driver, inputs="in", output="closed")
        verdict = check(closed, windows, emit="final")
        assert verdict, verdict


def windows(inputs: Any) -> Mapping[Any, Sequence[int]]:
    """Closed windows only: those that end before the last record of their partition."""
    by_partition: dict[int, list[Record]] = {}
    for record in inputs:
        by_partition.setdefault(record.partition, []).append(record)
    results: dict[Any, list[int]] = {}
    for records_ in by_partition.values():
        last = records_[-1].timestamp_ms
        for record in records_:
            start = record.timestamp_ms // 10 * 10
            if start + 10 <= last:
                series = results.setdefault(Windowed(record.key, start, start + 10), [0])
                series.append(series[-1] + record.value)
    return results


def test_what_happens_to_a_drivers_topics_is_seen() -> None:
    with TopologyTestDriver(app()) as driver:
        sent(driver)
        place = TopicPartition("out", 0)
        row = driver.broker.partition_records(TopicPartition("checked-totals-changelog", 0))[-1]
        driver.broker.append(place, b"k1", b"99")
        driver.broker.append(TopicPartition("checked-totals-changelog", 0), row.key, None)
        verdict = check(driver_history(driver, inputs="in", output="out", store="totals"), MODEL)
        assert verdict.kinds == {"wrong": 1, "state": 1}
        assert "the changelog lacks key 'k4'" in str(verdict)


def test_a_row_in_two_changelog_partitions_is_seen() -> None:
    with TopologyTestDriver(app(), partitions=2) as driver:
        driver.send("in", "k", 5)
        record = driver.broker.records("checked-totals-changelog")[0]
        other = TopicPartition("checked-totals-changelog", 1 - (record.partition or 0))
        driver.broker.append(other, record.key, record.value)
        verdict = check(driver_history(driver, inputs="in", store="totals"), MODEL)
        assert "'k', again in partition" in str(verdict)


def test_built_in_results_compare_with_plain_dictionaries() -> None:
    app = App("plain")
    app.stream("in", key=str, value=dict).group_by_key().aggregate(
        {"count": Count(), "sum": Sum("n")}, store="totals", emit="every"
    ).to("out")

    def add(_key: str, value: dict[str, int], before: dict[str, int]) -> dict[str, int]:
        return {"count": before["count"] + 1, "sum": before["sum"] + value["n"]}

    with TopologyTestDriver(app) as driver:
        for n in (1, 2, 3):
            driver.send("in", "k", {"n": n})
        history = driver_history(driver, inputs="in", output="out", store="totals")
    verdict = check(history, per_key(lambda: {"count": 0, "sum": 0}, add), emit="every")
    assert verdict, verdict
