from __future__ import annotations

import pytest

from bench import trim
from bench.options import Options, UsageError
from bench.report import Row
from bench.trim import COLUMNS


def test_rows_have_the_keys_that_are_promised() -> None:
    assert {column.key for column in COLUMNS} >= {"before_mib", "after_mib"}


def test_a_broker_whose_files_are_elsewhere_cannot_be_measured() -> None:
    with pytest.raises(UsageError, match="a broker of its own"):
        trim.run(Options(bootstrap="127.0.0.1:9"), lambda _rows: None)


def test_each_key_is_updated_equally_often_and_a_row_that_fails_has_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(run: trim._Run) -> dict[str, object]:
        changelog = run._changelog
        raise ValueError(f"{changelog.records} of {changelog.keys}")

    rows: list[Row] = []
    monkeypatch.setattr(trim._Run, "row", broken)
    trim.run(Options(customers=30), rows.extend)
    trim.run(Options(events=2_000), rows.extend)
    assert [row["correct"] for row in rows] == [False, False]
    assert "3000 of 30" in str(rows[0]["error"])
    assert "2000 of 20" in str(rows[1]["error"])
