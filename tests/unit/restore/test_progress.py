from __future__ import annotations

import pytest

from streamer.restore.progress import Rate


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    for _ in range(2):
        assert rate.records_per_second == 0
        assert rate.eta_s(100) is None
        rate.add(1_000, records=0, offsets=0)
    for second in range(1, 31):
        # 100 records and 200 offsets a second, after 20 s ten times as many.
        fast = max(second - 20, 0) * 9
        now_ms = 1_000 + second * 1_000
        rate.add(now_ms, records=(second + fast) * 100, offsets=(second + fast) * 200)
    assert rate.records_per_second == pytest.approx(1_000, rel=0.1)
    assert rate.eta_s(20_000) == pytest.approx(10, rel=0.1)


def test_the_end_is_in_no_time_and_an_unknown_one_cannot_be_told() -> None:
    rate = Rate()
    rate.add(1_000, records=1, offsets=1)
    assert rate.eta_s(0) == 0
    assert rate.eta_s(-1) is None
