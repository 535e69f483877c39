"""What seldom comes is seldom asked for; but not while brokers elect other leaders."""

from __future__ import annotations

import pytest

from streamer.cluster.hearing import wait_ms_of


@pytest.mark.parametrize(
    ("has_assignment", "trouble_s", "is_patient"),
    [
        (False, None, False),
        (True, None, True),
        (True, 99.0, False),
        (True, 71.0, False),
        (True, 60.0, True),
        (False, 60.0, False),
    ],
)
def test_news_are_waited_for_as_long_as_nobody_needs_them(
    has_assignment: bool, trouble_s: float | None, is_patient: bool
) -> None:
    assert wait_ms_of(has_assignment, trouble_s, now_s=100.0) == (6_000 if is_patient else 500)
