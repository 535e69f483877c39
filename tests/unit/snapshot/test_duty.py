"""A process that works, and rests in proportion."""

from __future__ import annotations

import pytest

from streamer.clock import ManualClock
from streamer.errors import StoppedError
from streamer.snapshot.duty import DutyCycle
from streamer.snapshot.pace import BURST_S


class Core:
    """One that a process has to itself: what it works takes as long."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.used_s = 0.0
        self.slept_s: list[float] = []

    def cycle(self, percent: int) -> DutyCycle:
        return DutyCycle(percent, clock=self.clock, sleep=self.sleep, used_s=lambda: self.used_s)

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.clock.advance(round(seconds * 1000))

    def work(self, ms: int, *, threads: int = 1) -> None:
        self.clock.advance(ms)
        self.used_s += threads * ms / 1000


@pytest.mark.parametrize("percent", [1, 10, 50, 99])
def test_it_takes_its_part_of_a_core_and_no_more(percent: int) -> None:
    core = Core()
    cycle = core.cycle(percent)
    for _ in range(100):
        core.work(10)
        cycle.rest()
    assert core.used_s / core.clock.monotonic_ms() * 1000 == pytest.approx(percent / 100, rel=0.05)
    assert max(core.slept_s) <= 1, "short ones, so that it shows how far it is"


def test_all_of_its_threads_count_together() -> None:
    core = Core()
    cycle = core.cycle(25)
    for _ in range(100):
        core.work(10, threads=4)
        for _ in range(4):
            cycle.rest()
    assert core.used_s / core.clock.monotonic_ms() * 1000 == pytest.approx(0.25, rel=0.05)


def test_what_it_took_to_start_counts() -> None:
    core = Core()
    core.work(200)
    core.cycle(10).rest()
    assert sum(core.slept_s) == pytest.approx(2.0 - BURST_S, abs=0.3)


def test_what_was_saved_while_it_waited_counts_for_a_moment_only() -> None:
    core = Core()
    cycle = core.cycle(50)
    cycle.rest()
    core.clock.advance(3_600_000)
    for _ in range(100):
        core.work(10)
        cycle.rest()
    assert sum(core.slept_s) >= 1.0 - 2 * BURST_S


def test_one_that_may_take_all_never_rests() -> None:
    core = Core()
    cycle = core.cycle(100)
    core.work(10_000, threads=4)
    cycle.rest()
    assert core.slept_s == []


def test_who_is_told_to_stop_stops_resting() -> None:
    core = Core()
    core.work(1_000)

    def sleep(_seconds: float) -> None:
        raise StoppedError("nobody waits for it any more")

    cycle = DutyCycle(10, clock=core.clock, sleep=sleep, used_s=lambda: core.used_s)
    with pytest.raises(StoppedError):
        cycle.rest()
