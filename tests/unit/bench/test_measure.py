from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from bench.gauge import Gauge
from bench.measure import Child, MeasureError, Measurement, Sample, measure
from bench.throughput import cost_curve

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the harness reads /proc: Linux only"
)

BURN = """
import signal, sys, time
held = bytearray(64 << 20)
end = time.process_time() + 0.6
while time.process_time() < end:
    pass
print("done", flush=True)
del held
signal.sigwait([signal.SIGTERM])
"""


def child(code: str, tmp_path: Path) -> Child:
    return Child([sys.executable, "-c", code], environment={}, log=tmp_path / "log")


def sample(wall_s: float, events: int, cpu_s: float, machine_s: float = 0.0) -> Sample:
    return Sample(wall_s, events, cpu_s, machine_s, peak_mib=10 * wall_s, rss_mib=5)


@pytest.mark.slow
def test_cpu_time_and_peak_memory_of_a_process_are_seen(tmp_path: Path) -> None:
    log = tmp_path / "log"
    measured = measure(
        lambda: [child(BURN, tmp_path)], progress=lambda: log.read_text().count("done"), total=1
    )
    assert 0.6 <= measured.last.cpu_s < 2.0
    assert 64 <= measured.peak_mib < 200
    assert measured.last.wall_s >= 0.6


@pytest.mark.slow
def test_a_descendant_counts(tmp_path: Path) -> None:
    parent = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN.replace("signal.sigwait([signal.SIGTERM])", "")!r}])
print("ended", flush=True)
import signal; signal.sigwait([signal.SIGTERM])
"""
    log = tmp_path / "log"
    measured = measure(
        lambda: [child(parent, tmp_path)], progress=lambda: log.read_text().count("ended"), total=1
    )
    assert measured.last.cpu_s >= 0.6
    assert measured.peak_mib >= 64


def test_a_process_that_ends_early_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"exit code 3\n.*no such broker") as raised:
        measure(
            lambda: [child("import sys; print('no such broker'); sys.exit(3)", tmp_path)],
            progress=lambda: 0,
            total=1,
        )
    assert str(raised.value).startswith("ended early")


@pytest.mark.slow
def test_a_process_that_stands_still_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.measure.STALL_S", 0.3)
    waiting = child("import signal; signal.sigwait([signal.SIGTERM])", tmp_path)
    with pytest.raises(MeasureError, match="no progress"):
        measure(lambda: [waiting], progress=lambda: 5, total=10)
    assert waiting.wait(120) == -signal.SIGTERM


def test_figures_follow_from_the_samples() -> None:
    measured = Measurement((sample(1.0, 0, 1.0, 10.0), sample(4.0, 1_000_000, 5.0, 16.0)))
    assert measured.events_per_s == 250_000
    assert measured.cpu_s_per_million == 5.0
    assert measured.own_cores == 1.25
    assert measured.machine_cores == 2.0
    assert measured.peak_mib == 40.0


def test_the_second_half_starts_at_the_first_sample_past_the_middle() -> None:
    measured = Measurement((sample(1, 100, 1.0), sample(3, 600, 4.0), sample(5, 1_000, 5.0)))
    warm = measured.warm()
    assert warm is not None
    assert warm == pytest.approx((200.0, 2_500.0))


def test_a_run_of_too_few_commits_has_no_second_half() -> None:
    assert (
        Measurement((sample(1, 0, 1.0), sample(3, 900, 4.0), sample(4, 1_000, 5.0))).warm() is None
    )


def test_the_parts_of_a_run_have_about_as_many_events_each() -> None:
    run = (sample(1, -1, 1.0), sample(2, 300, 2.0), sample(3, 600, 4.0), sample(4, 1_000, 5.0))
    parts = [(a.events, b.events) for a, b in Measurement(run).parts(3)]
    assert parts == [(-1, 600), (600, 1_000)]


def test_what_events_cost_is_told_along_the_run() -> None:
    run = (sample(1, 0, 1.0), sample(3, 500_000, 4.0), sample(5, 1_000_000, 5.0))
    gauge = Gauge(samples_ms=[3.0, 5.0], began_s=[101.5, 104.0])
    curve = cost_curve(Measurement(run, began_s=100.0), gauge, 2)
    assert curve == [(500_000, 6.0, 3.0), (1_000_000, 2.0, 5.0)]


def test_a_curve_has_few_points_and_the_last_one() -> None:
    measured = Measurement(tuple(sample(at, at, 1.0) for at in range(1, 1_001)))
    curve = measured.curve()
    assert 20 <= len(curve) <= 22
    assert curve[-1] == (1_000, 5)
