"""How much of the interpreter queries may take from processing.

While the main thread, which processes, is busy, every other thread that wants to run gets the
interpreter as often as it does. So few queries work at the same time, and together they get a
share of one CPU; while the main thread has little to do, they may take all of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamer.http.answers import QueryError
from streamer.http.pages import BREATH_SECONDS

__all__ = ["Share", "Turns", "main_thread_seconds"]

WORKING_MAX = 4
LONG_MAX = 2
LONG_WAIT_SECONDS = 2.0

SHARE = 0.2
# Work that may be done at once before the share is enforced, and the longest that one request is
# held back: health checks must not time out, however many clients there are.
BURST_SECONDS = 0.05
HOLD_SECONDS_MAX = 0.25
_BUSY = 0.1
_LOOK_SECONDS = 0.1


def main_thread_seconds() -> float | None:
    """The CPU time of the main thread so far; None where the system does not tell."""
    ident = threading.main_thread().ident
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(ident or 0))
    except (AttributeError, OSError):
        return None


class Share:
    """A leaky bucket of CPU time: it fills by what queries use and leaks at `SHARE` of one CPU."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        main_seconds: Callable[[], float | None] = main_thread_seconds,
    ) -> None:
        self._clock = clock
        self._main_seconds = main_seconds
        self._lock = threading.Lock()
        self._level_seconds = 0.0
        self._level_at = self._looked_at = clock()
        self._seen = main_seconds()
        self._is_busy = True

    def use(self, cpu_seconds: float) -> None:
        """Note work that was done."""
        with self._lock:
            now = self._clock()
            self._look(now)
            leaked = (now - self._level_at) * (SHARE if self._is_busy else 1.0)
            self._level_seconds = max(self._level_seconds - leaked, 0.0) + cpu_seconds
            self._level_at = now

    def wait_seconds(self) -> float:
        """How long the next request is to be held back."""
        if self._level_seconds <= BURST_SECONDS:
            return 0.0
        with self._lock:
            passed = self._clock() - self._level_at
            excess = self._level_seconds - BURST_SECONDS
            wait = excess / SHARE - passed if self._is_busy else 0.0
        return min(max(wait, 0.0), HOLD_SECONDS_MAX)

    def _look(self, now: float) -> None:
        """See now and then whether the main thread is busy."""
        passed = now - self._looked_at
        if passed < _LOOK_SECONDS:
            return
        seen = self._main_seconds()
        if seen is not None and self._seen is not None:
            self._is_busy = (seen - self._seen) / passed > _BUSY
        self._seen = seen
        self._looked_at = now


class Turns:
    """`with turns:` is work on one request; `outside` is waiting in the midst of it."""

    def __init__(self) -> None:
        self.share = Share()
        self._working = threading.Semaphore(WORKING_MAX)
        self._long = threading.BoundedSemaphore(LONG_MAX)

    def __enter__(self) -> None:
        self._working.acquire()

    def __exit__(self, *_error: object) -> None:
        self._working.release()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Let others work while this request waits for something."""
        self._working.release()
        try:
            yield
        finally:
            self._working.acquire()

    @contextmanager
    def long(self) -> Iterator[None]:
        """Work that takes more than a few milliseconds. Raises QueryError (503) if too many do."""
        if not self._long.acquire(blocking=False):
            with self.outside():
                is_mine = self._long.acquire(timeout=LONG_WAIT_SECONDS)
            if not is_mine:
                raise QueryError(
                    503,
                    f"{LONG_MAX} ranges are being read, and none ended within"
                    f" {LONG_WAIT_SECONDS:g} s",
                    hint="ask again; a smaller limit= makes each shorter",
                    retry_after_s=1,
                )
        try:
            yield
        finally:
            self._long.release()

    def breathe(self, done: int) -> None:
        """Step aside for a moment between two pieces of work; not before the first."""
        if done:
            time.sleep(BREATH_SECONDS)
