from __future__ import annotations

import pytest

from streamer.cli.output import duration, moment, print_table


def test_a_table_is_aligned_with_numbers_on_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"task": "0_1", "lag_records": 12_345, "ready": True},
        {"task": "0_10", "lag_records": None, "ready": False},
    ]
    print_table(rows, ("task", "lag_records", "ready"))
    assert capsys.readouterr().out.splitlines() == [
        "task  lag records  ready",
        "0_1        12,345  yes",
        "0_10            -  no",
    ]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], ("task",))
    assert capsys.readouterr().out == "none\n"


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500, "1970-01-01T00:00:01.500Z"),
        (2**63, str(2**63)),
    ],
)
def test_times_are_in_utc(time_ms: int, text: str) -> None:
    assert moment(time_ms) == text


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (-1, "never"),
        (900, "0.9 s ago"),
        (119_000, "119.0 s ago"),
        (120_000, "2 min ago"),
        (7_200_000, "2 h ago"),
        (172_800_000, "2 d ago"),
    ],
)
def test_durations_are_short(duration_ms: int, text: str) -> None:
    assert duration(duration_ms) == text
