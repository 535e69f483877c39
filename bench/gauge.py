"""How fast is the machine while something is measured?

Where others share the hardware, the same instructions take twice the time for half an hour, or for
ten seconds. A fixed piece of work, done again and again beside what is measured and for a hundredth
of the time, tells how fast the clock was. It fits the innermost cache, so it says nothing of caches
and memory that others use: costs that differ by more than it does had another reason.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean

PAUSE_S = 0.5
_ROUNDS = 60_000


@dataclass
class Gauge:
    """What the fixed work has cost so far, in CPU ms of its own thread, and when each was begun, by
    `time.perf_counter`."""

    samples_ms: list[float] = field(default_factory=list)
    began_s: list[float] = field(default_factory=list)

    @property
    def mean_ms(self) -> float | None:
        """None before the first sample."""
        return fmean(self.samples_ms) if self.samples_ms else None

    def between_ms(self, begin_s: float, end_s: float) -> float | None:
        """The mean of what was begun in [begin_s, end_s); None where nothing was."""
        begin, end = (bisect_left(self.began_s, each) for each in (begin_s, end_s))
        return fmean(self.samples_ms[begin:end]) if begin < end else None


@contextmanager
def gauged(core: int | None) -> Iterator[Gauge]:
    """Measures as long as the block runs, on this core where one is given."""
    gauge, is_over = Gauge(), threading.Event()

    def measure() -> None:
        if core is not None:
            # Of a thread, in spite of its name.
            os.sched_setaffinity(0, {core})
        while not is_over.wait(PAUSE_S):
            gauge.began_s.append(time.perf_counter())
            gauge.samples_ms.append(_work_ms())

    thread = threading.Thread(target=measure, name="gauge", daemon=True)
    thread.start()
    try:
        yield gauge
    finally:
        is_over.set()
        thread.join()


def _work_ms() -> float:
    """CPU time, so that waiting for a core or for the interpreter does not count."""
    began, total = time.thread_time(), 0
    for number in range(_ROUNDS):
        total += number * number
    return (time.thread_time() - began) * 1e3
