from __future__ import annotations

import pytest

from streamer.clock import ManualClock, SystemClock


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(1_000)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_000, 0)
    assert clock.advance(250) == 1_250
    clock.jump_to(10)
    assert (clock.now_ms(), clock.monotonic_ms()) == (10, 250)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_the_system_clock_is_in_milliseconds() -> None:
    clock = SystemClock()
    assert clock.now_ms() > 1_700_000_000_000
    assert clock.now_ms() < 10_000_000_000_000
    first = clock.monotonic_ms()
    assert 0 <= clock.monotonic_ms() - first < 10_000
