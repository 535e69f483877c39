"""Renews a lease from a thread of its own, so that a step may take as long as it needs for a file.

It goes on while the process lives. A process that stands still renews nothing, and finds out when
it wakes that it was replaced, at the latest with its next `check`.
"""

from __future__ import annotations

import logging
import threading

from streamer.closable import Closable
from streamer.errors import FencedError, StreamerError
from streamer.operations.lock import Hold

__all__ = ["Pulse"]

_log = logging.getLogger(__name__)

_JOIN_S = 10.0


class Pulse(Closable):
    """Renews until it is closed, or until the lock is lost."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operation-lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_over.set()
        # With brokers away a renewal may take minutes; the thread ends with the process.
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        # Three times in a lease: one that fails, and the next, do not cost it.
        while not self._is_over.wait(self._hold.lock.lease_ms / 3000):
            try:
                self._hold.write()
            except FencedError as error:
                # The step hears of it with its next check.
                _log.info("%s", error)
                return
            except StreamerError as error:
                _log.warning("the lease could not be renewed yet: %s", error)
