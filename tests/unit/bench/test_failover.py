from __future__ import annotations

import pytest

from bench import failover
from bench.failover import COLUMNS, Gaps
from bench.options import Options
from bench.report import Row
from bench.traffic import Silence, Traffic, longest, percentile


def test_rows_have_the_keys_that_are_promised() -> None:
    keys = {column.key for column in COLUMNS}
    assert keys >= {"session_s", "kill_gap_s", "kill_gap_p99_s", "stop_gap_s", "stop_gap_p99_s"}
    gaps = Gaps(kill=[6.0, 7.0], fenced=[5.0], running=[6.0], stop=[1.0], back=[0.5], others=[0.2])
    assert gaps.row().keys() <= keys


def test_the_longest_silence_is_the_one_that_ends_after_the_moment() -> None:
    moments = [0.0, 9.0, 9.5, 10.0, 13.0, 13.5]
    assert longest(moments, 9.2) == Silence(10.0, 13.0)
    assert longest(moments, 5.0) == Silence(0.0, 9.0)
    with pytest.raises(ValueError, match="empty"):
        longest(moments, 13.5)


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([float(number) for number in range(1, 201)], 0.99) == 198.0
    assert percentile([4.0], 0.5) == 4.0


def test_results_that_come_twice_are_a_fault() -> None:
    traffic = Traffic("127.0.0.1:9", source="in", target="out", partitions=1)
    for count in (1, 3, 3):
        traffic._take(0, b"c1", b'{"count": %d}' % count)
    assert traffic.finish(0.0) == "b'c1': 3 after 3"


def test_a_run_that_fails_has_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_bootstrap: str) -> object:
        raise ValueError("no disk")

    rows: list[Row] = []
    monkeypatch.setattr(failover, "_running", broken)
    failover.run(Options(bootstrap="127.0.0.1:9"), rows.extend)
    assert [row["victim"] for row in rows] == ["another worker", "the controller"]
    assert {row["correct"] for row in rows} == {False}
    assert all("no disk" in str(row["error"]) for row in rows)
