"""How long an owner may answer for its tasks: a lease that it renews with its statuses.

Whoever is cut off from Kafka is not told that it was fenced, and others own its tasks by then. But
a controller gives up only a worker that it has heard nothing of for some time, counted from when it
heard the last word. So nobody has been put in the owner's place for as long after it *sent* a
status which the brokers then acknowledged; when the acknowledgement comes does not matter.
"""

from __future__ import annotations

import threading

from streamer.clock import Clock

__all__ = ["Lease", "bound_ms"]


def bound_ms(suspicion_ms: int) -> int:
    """How long a lease holds where a controller suspects nobody sooner than after `suspicion_ms` of
    silence. A twentieth is for clocks that run apart: a new controller goes by the wall clock."""
    return suspicion_ms * 19 // 20


class Lease:
    """Of one process. All methods may be called by any thread."""

    def __init__(self, bound_ms: int, clock: Clock) -> None:
        self._bound_ms = bound_ms
        self._clock = clock
        self._lock = threading.Lock()
        self._sent_ms: int | None = None
        self._sure_ms: int | None = None
        """When it was sure for the last time, while it was lost and is not back."""
        self._trusted_ms: int | None = None
        self._is_over = False

    def renew(self, sent_ms: int) -> None:
        """A status that was sent at this time, by the clock's `monotonic_ms`, has arrived."""
        with self._lock:
            if self._is_over:
                return
            now_ms, last_ms = self._clock.monotonic_ms(), self._sent_ms
            # By now, and not by what was sent: whoever is cut off goes on to speak, and all of that
            # arrives at once when the brokers are back.
            if last_ms is not None and now_ms - last_ms >= self._bound_ms:
                if self._trusted_ms is None or self._trusted_ms < last_ms + self._bound_ms:
                    self._sure_ms = last_ms
                self._trusted_ms = now_ms + self._bound_ms
            self._sent_ms = max(sent_ms, last_ms or sent_ms)

    def end(self) -> None:
        """This process was told that others may own what it had; only `begin` changes that."""
        self._is_over = True

    def begin(self) -> None:
        """A new life: what was acknowledged before does not count for it."""
        with self._lock:
            self._sent_ms = self._sure_ms = self._trusted_ms = None
            self._is_over = False

    @property
    def age_ms(self) -> int | None:
        """For how long nothing has been sure; None where no status ever arrived."""
        with self._lock:
            now_ms, sent_ms, trusted_ms = (
                self._clock.monotonic_ms(),
                self._sent_ms,
                self._trusted_ms,
            )
            if sent_ms is None:
                return None
            is_back = trusted_ms is None or trusted_ms <= min(now_ms, sent_ms + self._bound_ms)
            sure_ms = sent_ms if is_back or self._sure_ms is None else self._sure_ms
        return max(now_ms - sure_ms, 0)

    @property
    def holds(self) -> bool:
        """Whether nobody else can own this process's tasks at this moment."""
        sent_ms, trusted_ms = self._sent_ms, self._trusted_ms
        if self._is_over or sent_ms is None:
            return False
        now_ms = self._clock.monotonic_ms()
        return now_ms - sent_ms < self._bound_ms and (trusted_ms is None or now_ms >= trusted_ms)
