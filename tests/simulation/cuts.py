"""Workers that are cut off from some brokers and not from others: with dice of their own."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.simulation.kafka import SESSION_MS
from tests.simulation.process import Process

__all__ = ["Cuts"]


class Cuts:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(f"cuts {seed}")

    def fall(self, processes: Sequence[Process], likelihood: float) -> None:
        if self.chance.random() < likelihood:
            self.cut_off(self.chance.choice(processes))

    def cut_off(self, process: Process) -> None:
        """From the brokers of its own words, the one of what is said to it, or both; whichever it
        reaches first again. Mostly no input comes either."""
        now_ms = process.clock.monotonic_ms()
        if self.chance.random() < 0.7:
            process.mute_until_ms = now_ms + self.chance.randint(0, 3 * SESSION_MS)
        if self.chance.random() < 0.7:
            process.deaf_until_ms = now_ms + self.chance.randint(0, 8 * SESSION_MS)
        if self.chance.random() < 0.7:
            process.idle_until_ms = max(process.mute_until_ms, process.deaf_until_ms)
