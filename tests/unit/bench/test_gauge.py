from __future__ import annotations

import os
import time

import pytest

from bench import gauge as bench_gauge
from bench.gauge import Gauge, gauged


def test_the_fixed_work_is_done_again_and_again_and_ends_with_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_gauge, "PAUSE_S", 0.001)
    before = os.sched_getaffinity(0)
    with gauged(min(before)) as gauge:
        until = time.monotonic() + 60
        while len(gauge.samples_ms) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    done = list(gauge.samples_ms)
    assert len(done) >= 3
    assert min(done) > 0
    assert gauge.mean_ms == pytest.approx(sum(done) / len(done))
    time.sleep(0.05)
    assert gauge.samples_ms == done
    # Its own thread alone was kept to one core.
    assert os.sched_getaffinity(0) == before


def test_without_a_sample_nothing_is_known() -> None:
    with gauged(None) as gauge:
        pass
    assert gauge.mean_ms is None


def test_the_mean_of_a_part_of_the_time_is_known() -> None:
    gauge = Gauge(samples_ms=[3.0, 5.0, 4.0], began_s=[10.0, 10.5, 11.0])
    assert gauge.between_ms(10.0, 11.0) == 4.0
    assert gauge.between_ms(10.6, 11.0) is None
