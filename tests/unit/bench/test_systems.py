from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.options import Options, UsageError
from bench.systems import Case, System

CASE = Case(
    bootstrap="127.0.0.1:9092",
    application="app",
    source="in",
    target="out",
    state=Path("/state"),
    commit_ms=100,
    partitions=8,
    process=1,
    processes=2,
)
SYSTEM = System(name="one", command=lambda case: ["run", case.application], commit_ms=100)


def test_a_case_travels_in_variables() -> None:
    assert Case.from_environment(CASE.environment()) == CASE


def test_a_child_sees_its_case_and_no_python_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("BENCH_SOURCE", "stale")
    system = replace(SYSTEM, settings={"BENCH_CACHE": "off"})
    environment = system.environment(CASE)
    assert "PYTHONPATH" not in environment
    assert environment["BENCH_SOURCE"] == "in"
    assert environment["BENCH_CACHE"] == "off"


def test_rows_are_chosen_by_a_part_of_their_title() -> None:
    other = replace(SYSTEM, name="Two", commit_ms=1_000)
    both = [SYSTEM, other]
    assert Options().chosen(both) == both
    assert Options(only=("two",)).chosen(both) == [other]
    assert Options(only=("1,000 ms", "one")).chosen(both) == both


def test_an_unknown_row_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no row is named three; there are\n  one, 100 ms"):
        Options(only=("three",)).chosen([SYSTEM])


@pytest.mark.parametrize("name", ["throughput", "restore", "scale"])
def test_every_benchmark_names_its_rows_once(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--list"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows
    assert len(set(rows)) == len(rows)


def test_an_unknown_row_ends_with_the_code_of_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["throughput", "--only", "no such system", "--bootstrap", "127.0.0.1:1"]) == 2
    assert "no row is named no such system" in capsys.readouterr().err
