from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from bench import scale
from bench.report import Row
from bench.restore import printed
from bench.run import Source
from bench.systems import Case, System
from bench.systems.streamer_restore import told

CASE = Case(
    bootstrap="", application="app", source="in", target="out", state=Path(), commit_ms=1_000
)


@pytest.mark.parametrize(
    ("output", "records"),
    [
        ("", -1),
        ("some warning\n", -1),
        ("restored 0\n", 0),
        ("restored 0\nrestored 500\nsome warning\n", 500),
        ("restored 500\nrestored 10", 500),
        ("restored 1\n" * 2_000 + "restored 7\n", 7),
    ],
)
def test_the_last_whole_line_tells_the_progress(tmp_path: Path, output: str, records: int) -> None:
    (tmp_path / "process-0.log").write_text(output)
    assert printed(replace(CASE, state=tmp_path)) == records


def test_the_log_of_a_worker_tells_the_progress() -> None:
    start = 'level=info task=0_0 msg="task 0_0: restoring 300 offsets"\n'
    ends = "".join(
        f'level=info msg="task 0_{n} runs: restored {n * 100} records, goes on at in/{n}@0"\n'
        for n in (1, 2)
    )
    assert told('level=info msg="joining"\n') == -1
    assert told(start) == 0
    assert told(start + ends) == 300


def test_a_point_is_compared_with_the_first_right_before_and_right_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = iter([2.0, 3.6, 4.0, 9.0, 5.0])
    points = [scale.EVEN, replace(scale.EVEN, processes=2), replace(scale.EVEN, processes=3)]

    def measured(system: System, point: scale.Point, *, source: Source) -> Row:
        cost = next(costs)
        return {"cpu_s_per_million": cost, "events_per_s_warm": 100 / cost, "gauge_ms": cost / 2}

    monkeypatch.setattr(scale, "_row", measured)
    sources = {scale.EVEN.workload: cast(Source, None)}
    rows = list(scale._turn(points, scale.SYSTEMS[0], sources))
    assert [(point.processes, row["cpu_s_per_million"]) for point, row in rows] == [
        (1, 2.0),
        (2, 3.6),
        (1, 4.0),
        (3, 9.0),
        (1, 5.0),
    ]
    assert [row["cost_ratio"] for _, row in rows] == [1.0, 1.2, 1.0, 2.0, 1.0]
    # All of it was the machine.
    assert [row["even_ratio"] for _, row in rows] == [1.0, 1.0, 1.0, 1.0, 1.0]
    assert [round(float(str(row["rate_ratio"])), 2) for _, row in rows] == [1, 0.74, 1, 0.49, 1]


def test_failed_runs_are_not_compared() -> None:
    failed = {"error": "ended early"}
    assert "cost_ratio" not in scale._with_ratios(failed, [{"cpu_s_per_million": 2.0}])
    alone = scale._with_ratios({"cpu_s_per_million": 2.0, "gauge_ms": None}, [failed])
    assert not {"cost_ratio", "even_ratio", "rate_ratio"} & set(alone)


def test_the_memory_curve_is_told_for_the_series_of_events() -> None:
    row = {"system": "one", "events": 2_000_000, "curve": [[0, 20], [1_000_000, 30]]}
    lines = scale.remarks([{**row, "series": "events"}, {**row, "series": "partitions"}])
    assert lines == ["one, 2,000,000 events, resident MiB after 1.0 M: 30"]


def test_what_events_cost_along_a_run_is_told_for_the_series_of_events() -> None:
    row = {
        "system": "one",
        "events": 2_000_000,
        "cost_curve": [[1_000_000, 4.0, 3.21], [2_000_000, 4.2, None]],
    }
    lines = scale.remarks([{**row, "series": "events"}, {**row, "series": "partitions"}])
    assert lines == [
        "one, 2,000,000 events, CPU s per million (fixed work, ms) up to 1.0 M: 4.00 (3.21),"
        " 2.0 M: 4.20"
    ]
