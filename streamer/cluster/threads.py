"""The threads of a member, each of which has one thing to do until all are stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from streamer.cluster.controller import PASSING
from streamer.errors import InvariantError, StreamerError

__all__ = ["AGAIN_S", "Threads"]

_log = logging.getLogger(__name__)

AGAIN_S = 0.5


class Threads:
    """Each repeats its work while the trouble that it has passes, until `stopped` is set. `fail`
    hears of any other trouble: nothing that a member does may end in silence."""

    def __init__(self, stopped: threading.Event, fail: Callable[[StreamerError], None]) -> None:
        self._stopped = stopped
        self._fail = fail
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[], None]) -> None:
        """Begin with it, in a thread that has its name."""
        name = work.__name__.strip("_")
        thread = threading.Thread(target=self._repeat, args=(work,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self, deadline_s: float) -> None:
        """Wait for all, by the monotonic clock no longer than until then, and a moment for each."""
        for thread in self._threads:
            thread.join(max(0.1, deadline_s - time.monotonic()))

    def _repeat(self, work: Callable[[], None]) -> None:
        is_over = False
        try:
            while not self._stopped.is_set():
                try:
                    work()
                except PASSING as error:
                    _log.warning("the cluster is out of reach, trying again: %s", error)
                    self._stopped.wait(AGAIN_S)
            is_over = True
        except StreamerError as error:
            self._fail(error)
            is_over = True
        finally:
            if not is_over:
                self._fail(InvariantError(f"thread {threading.current_thread().name} has died"))
