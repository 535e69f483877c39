"""Who did not answer a moment ago, so that not every request waits for a host that is dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Silence"]

# A worker that comes back is asked again after this time.
REMEMBERED_SECONDS = 3.0
# Then one request finds out whether it did, and the others do not wait with it.
PROBE_SECONDS = 1.0


class Silence:
    """The addresses that are not to be asked first. Used by many threads at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def is_silent(self, address: str) -> bool:
        """Whether somebody else had better be asked first."""
        return self._clock() < self._until.get(address, 0.0)

    def asked(self, address: str) -> None:
        """Somebody is about to ask."""
        with self._lock:
            if address in self._until:
                until = self._clock() + PROBE_SECONDS
                self._until[address] = max(self._until[address], until)

    def failed(self, address: str) -> None:
        """Nobody answered."""
        with self._lock:
            now = self._clock()
            old = [one for one, until in self._until.items() if until < now - REMEMBERED_SECONDS]
            for one in old:
                del self._until[one]
            self._until[address] = now + REMEMBERED_SECONDS

    def answered(self, address: str) -> None:
        """Somebody did."""
        if address in self._until:
            with self._lock:
                self._until.pop(address, None)
