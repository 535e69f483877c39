from __future__ import annotations

import math

import pytest

from bench import snapshot
from bench.options import Options
from bench.report import Row
from bench.snapshot import COLUMNS, Look, Work, percentile_ms


def test_rows_have_the_keys_that_are_promised() -> None:
    wanted = {"state_mib", "throughput_percent", "pause_p99_ms"}
    assert {column.key for column in COLUMNS} >= wanted


def test_a_percentile_is_the_upper_end_of_its_bucket() -> None:
    buckets = {0.005: 0.0, 0.01: 97.0, 0.05: 99.0, 0.1: 99.0, math.inf: 100.0}
    assert percentile_ms(buckets, 0.5) == 10.0
    assert percentile_ms(buckets, 0.99) == 50.0
    assert percentile_ms(buckets, 1.0) == math.inf
    assert percentile_ms({}, 0.99) == 0.0


def test_work_is_summed_up_over_stretches() -> None:
    work = Work()
    work.add(Look(0.0, 0.0, 1.0), Look(2.0, 100.0, 2.0))
    work.add(Look(10.0, 500.0, 5.0), Look(12.0, 700.0, 7.0))
    assert (work.events, work.seconds, work.cpu_s, work.per_s) == (300.0, 4.0, 3.0, 75.0)
    assert work.cpu_s_per_million == 10_000


def test_a_run_that_fails_has_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_run: snapshot._Run) -> dict[str, object]:
        raise ValueError("no disk")

    rows: list[Row] = []
    monkeypatch.setattr(snapshot._Run, "row", broken)
    snapshot.run(Options(customers=30, bootstrap="127.0.0.1:9"), rows.extend)
    assert [row["correct"] for row in rows] == [False, False]
    assert ["no disk" in str(row["error"]) for row in rows] == [True, True]
