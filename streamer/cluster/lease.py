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
    """Of one process. All methods may be called by any thread.

    One that was lost is back only after a whole bound without a gap, once `prove` was called then.
    """

    def __init__(self, bound_ms: int, clock: Clock) -> None:
        self._bound_ms = bound_ms
        self.clock = clock
        self._lock = threading.Lock()
        self._sent_ms: int | None = None
        self._sure_ms: int | None = None
        """When it was sure for the last time, while it was lost and is not back."""
        self._trusted_ms: int | None = None
        """When the bound without a gap is over; None where it was not lost, or is back."""
        self._losses = 0
        self._is_over = False

    def renew(self, sent_ms: int) -> None:
        """A status that was sent at this time, by the clock's `monotonic_ms`, has arrived."""
        with self._lock:
            if self._is_over:
                return
            now_ms, last_ms = self.clock.monotonic_ms(), self._sent_ms
            # By now, and not by what was sent: whoever is cut off goes on to speak, and all of that
            # arrives at once when the brokers are back.
            if last_ms is not None and now_ms - last_ms >= self._bound_ms:
                if self._trusted_ms is None:
                    self._sure_ms = last_ms
                self._trusted_ms = now_ms + self._bound_ms
                self._losses += 1
            self._sent_ms = max(sent_ms, last_ms or sent_ms)

    @property
    def unproven(self) -> int | None:
        """The number of the loss since which it was heard long enough, and after which it has to
        show that it hears; None where there is nothing to show."""
        with self._lock:
            sent_ms, trusted_ms = self._sent_ms, self._trusted_ms
            if self._is_over or sent_ms is None or trusted_ms is None:
                return None
            now_ms = self.clock.monotonic_ms()
            is_heard = now_ms >= trusted_ms and now_ms - sent_ms < self._bound_ms
            return self._losses if is_heard else None

    def prove(self, loss: int) -> None:
        """This process has taken in all that was written to it before `unproven` gave this number.
        It counts for nothing once the lease was lost again, or a new life has begun."""
        with self._lock:
            if loss == self._losses:
                self._trusted_ms = self._sure_ms = None

    def end(self) -> None:
        """This process was told that others may own what it had; only `begin` changes that."""
        self._is_over = True

    def begin(self) -> None:
        """A new life: what was acknowledged before does not count for it."""
        with self._lock:
            self._sent_ms = self._sure_ms = self._trusted_ms = None
            self._losses += 1
            self._is_over = False

    @property
    def age_ms(self) -> int | None:
        """For how long nothing has been sure; None where no status ever arrived."""
        with self._lock:
            now_ms = self.clock.monotonic_ms()
            sure_ms = self._sent_ms if self._sure_ms is None else self._sure_ms
        return None if sure_ms is None else max(now_ms - sure_ms, 0)

    @property
    def holds(self) -> bool:
        """Whether nobody else can own this process's tasks at this moment."""
        # In this order: `renew` writes the other way round, so an old one is never taken for new.
        sent_ms, trusted_ms = self._sent_ms, self._trusted_ms
        if self._is_over or sent_ms is None or trusted_ms is not None:
            return False
        return self.clock.monotonic_ms() - sent_ms < self._bound_ms
