from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import scale
from bench.restore import printed
from bench.systems import Case
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


def test_a_point_is_compared_with_the_median_of_the_first() -> None:
    def row(cpu: float, rate: float) -> dict[str, object]:
        return {"cpu_s_per_million": cpu, "events_per_s_warm": rate}

    first = [row(2.0, 100.0), row(9.0, 500.0), row(4.0, 200.0)]
    compared = scale._with_ratios(row(5.0, 300.0), first)
    assert compared["cost_ratio"] == 1.25
    assert compared["rate_ratio"] == 1.5


def test_failed_runs_are_not_compared() -> None:
    failed = {"error": "ended early"}
    assert "cost_ratio" not in scale._with_ratios(failed, [{"cpu_s_per_million": 2.0}])
    assert "cost_ratio" not in scale._with_ratios({"cpu_s_per_million": 2.0}, [failed])


def test_the_memory_curve_is_told_for_the_series_of_events() -> None:
    row = {"system": "one", "events": 2_000_000, "curve": [[0, 20], [1_000_000, 30]]}
    lines = scale.remarks([{**row, "series": "events"}, {**row, "series": "partitions"}])
    assert lines == ["one, 2,000,000 events, resident MiB after 1.0 M: 30"]
