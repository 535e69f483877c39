"""How much of the interpreter queries may take from processing.

Every thread that wants to run gets the interpreter as often as the loop does, so the number of
those that work at the same time is what protects the loop, not their speed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from streamer.http.answers import QueryError
from streamer.http.pages import BREATH_SECONDS

__all__ = ["Turns"]

WORKING_MAX = 4
LONG_MAX = 2
WAIT_SECONDS = 2.0


class Turns:
    """`with turns:` is work on one request; `outside` is waiting in the midst of it."""

    def __init__(self) -> None:
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
                is_mine = self._long.acquire(timeout=WAIT_SECONDS)
            if not is_mine:
                raise QueryError(
                    503,
                    f"{LONG_MAX} ranges are being read, and none ended within {WAIT_SECONDS:g} s",
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
