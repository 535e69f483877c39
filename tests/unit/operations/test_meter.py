"""Rates and the time that is left, from what a step tells."""

from __future__ import annotations

import pytest

from streamer.clock import ManualClock
from streamer.control.operations import ProgressRecord
from streamer.operations.meter import Meter
from streamer.operations.words import progress_text


def told(done: int, total: int = 1_000, **fields: object) -> ProgressRecord:
    return ProgressRecord(bytes_done=done, bytes_total=total, **fields)  # type: ignore[arg-type]


def test_it_tells_since_when_nothing_has_moved_over_all_runs_of_a_step() -> None:
    clock = ManualClock(5_000)
    meter, seen = Meter(clock), []
    for done, phase in ((0, "a"), (0, "a"), (1, "a"), (1, "a"), (1, "b"), (1, "b")):
        seen.append(meter.read(told(done, phase=phase)).moved_ms)
        clock.advance(1_000)
    assert seen == [5_000, 5_000, 7_000, 7_000, 9_000, 9_000]
    # Another process begins it again, and comes no further.
    clock.advance(16 * 60_000)
    last = Meter(clock, ProgressRecord(phase="b", bytes_done=1, moved_ms=9_000)).read(
        told(1, phase="b", held_by="0_1")
    )
    assert last.moved_ms == 9_000
    assert progress_text(last).endswith("waits for 0_1, nothing has moved for 16 min 2 s")
    assert Meter(clock, last).read(told(2, phase="b")).moved_ms == clock.now_ms()


def test_rate_and_time_left_come_from_the_last_seconds() -> None:
    clock = ManualClock(5_000)
    meter = Meter(clock)
    first = meter.read(told(0))
    assert (first.bytes_per_s, first.eta_s, first.at_ms) == (0, -1, 5_000)
    clock.advance(100)
    assert meter.read(told(90)).eta_s == -1
    clock.advance(1_900)
    second = meter.read(told(200))
    assert (second.bytes_per_s, second.eta_s) == (100, 8)
    for done in range(210, 600, 10):
        clock.advance(1_000)
        slow = meter.read(told(done))
    # Ten a second by now; the fast begin is forgotten.
    assert (slow.bytes_per_s, slow.eta_s) == (10, 41)


def test_the_slower_of_bytes_and_records_decides() -> None:
    clock = ManualClock()
    meter = Meter(clock)
    meter.read(told(0, records_total=10))
    clock.advance(1_000)
    both = meter.read(told(500, records_done=1, records_total=10))
    assert (both.bytes_per_s, both.records_per_s, both.eta_s) == (500, 1, 9)


def test_another_phase_and_what_is_done_again_begin_anew() -> None:
    clock = ManualClock()
    meter = Meter(clock)
    meter.read(told(0, phase="copy", number=1))
    clock.advance(1_000)
    assert meter.read(told(500, phase="copy", number=1)).bytes_per_s == 500
    assert meter.read(told(900, phase="check", number=2)).bytes_per_s == 0
    clock.advance(1_000)
    assert meter.read(told(100, phase="check", number=2)).bytes_per_s == 0
    assert meter.read(told(100, total=0, phase="check", number=2)).eta_s == -1


@pytest.mark.slow
def test_any_number_of_calls_is_remembered_by_few_points() -> None:
    clock = ManualClock()
    meter = Meter(clock)
    for done in range(50_000):
        clock.advance(1)
        meter.read(told(done, total=100_000))
    assert len(meter._points) < 80
    assert 950 <= meter.read(told(50_000, total=100_000)).bytes_per_s <= 1_050
