from __future__ import annotations

import json

from bench.report import Column, cell, combine, json_line, markdown, table

COLUMNS = (
    Column("system", "system"),
    Column("commit_ms", "commit ms", ","),
    Column("cpu", "CPU s", ".2f", spread=True),
    Column("correct", "correct"),
)


def row(cpu: float, *, correct: bool | None = True, **more: object) -> dict[str, object]:
    return {"system": "one", "commit_ms": 1_000, "cpu": cpu, "correct": correct, **more}


def test_several_runs_become_their_median_with_the_extremes() -> None:
    combined = combine([row(3.0), row(1.0), row(10.0)], COLUMNS)
    assert combined["cpu"] == 3.0
    assert combined["min"] == {"cpu": 1.0}
    assert combined["max"] == {"cpu": 10.0}
    assert combined["runs"] == 3
    assert combined["correct"] is True


def test_a_single_run_has_no_extremes() -> None:
    combined = combine([row(3.0)], COLUMNS)
    assert combined == {**row(3.0), "runs": 1}


def test_one_wrong_run_makes_the_row_wrong() -> None:
    combined = combine([row(1.0), row(1.0, correct=False), row(1.0)], COLUMNS)
    assert combined["correct"] is False


def test_a_failed_run_makes_the_row_wrong_and_gives_no_numbers() -> None:
    failed = {"system": "one", "commit_ms": 1_000, "correct": False, "error": "ended early"}
    combined = combine([row(1.0), failed, row(2.0)], COLUMNS)
    assert combined["cpu"] == 1.5
    assert combined["runs"] == 2
    assert combined["correct"] is False
    assert combined["error"] == "ended early"


def test_a_row_of_failed_runs_alone_has_no_numbers() -> None:
    failed = {"system": "one", "commit_ms": 1_000, "correct": False, "error": "ended early"}
    combined = combine([failed], COLUMNS)
    assert table([combined], COLUMNS).splitlines()[2].split() == ["one", "1,000", "-", "NO"]


def test_what_is_not_checked_is_neither_right_nor_wrong() -> None:
    combined = combine([row(1.0, correct=None), row(2.0, correct=None)], COLUMNS)
    assert combined["correct"] is None
    assert cell(combined, COLUMNS[3]) == "-"


def test_a_json_line_starts_with_the_columns_in_order() -> None:
    line = json_line({"extra": 1, **row(1.23456)}, COLUMNS)
    assert list(json.loads(line)) == ["system", "commit_ms", "cpu", "correct", "extra"]
    assert json.loads(line)["cpu"] == 1.235
    assert "\n" not in line


def test_a_json_line_has_every_column() -> None:
    assert json.loads(json_line({"system": "one"}, COLUMNS))["cpu"] is None


def test_a_table_lines_numbers_up_at_the_right() -> None:
    rows = [combine([row(1.0), row(2.0), row(30.0)], COLUMNS), combine([row(4.0)], COLUMNS)]
    assert table(rows, COLUMNS).splitlines() == [
        "system  commit ms                CPU s  correct",
        "------  ---------  -------------------  -------",
        "one         1,000  1.00 / 2.00 / 30.00  yes",
        "one         1,000                 4.00  yes",
    ]


def test_markdown_is_a_table_of_the_same_cells() -> None:
    assert markdown([combine([row(4.0)], COLUMNS)], COLUMNS).splitlines() == [
        "| system | commit ms | CPU s | correct |",
        "|---|---:|---:|---|",
        "| one | 1,000 | 4.00 | yes |",
    ]
