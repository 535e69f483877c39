"""That a worker hears, which it has to show before a lease that it had lost is back.

Whoever was given up while it was cut off is told so by an assignment, which may be out of its reach
though its statuses arrive again. So it asks where that partition ends, once it has been heard long
enough after the gap, and has its lease back when it has read up to there.

The end is the high watermark, not the last stable offset: what took its tasks away is written in
one transaction with what gave them to others, whose partitions may get their markers first. A
transaction that nobody ends is ended by the brokers (`transaction_timeout_ms`), and the lease waits
for it as all readers do.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from streamer.cluster.lease import Lease
from streamer.errors import StreamerError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin

__all__ = ["Proof", "end_of"]

_log = logging.getLogger(__name__)

_PAUSE_MS = 500
# Assignments are rare, so whoever hears gets there in a moment. An end that is not reached for so
# long may be one that is gone, with the topic that was made anew.
_KEPT_MS = 30_000


@dataclass(slots=True)
class _Question:
    """Written by the thread that asks; the end before `is_over`."""

    loss: int
    asked_ms: int
    end: int | None = None
    is_over: bool = False


def _apart(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="ask", daemon=True).start()


def end_of(admin: Admin, place: TopicPartition) -> Callable[[], int]:
    """A question for the end of this partition, open transactions included."""
    return lambda: admin.ends([place], "read_uncommitted")[place]


class Proof:
    """`end` asks the brokers; `apart` lets it do so elsewhere: whoever hears never waits for it."""

    def __init__(
        self,
        lease: Lease,
        end: Callable[[], int],
        *,
        apart: Callable[[Callable[[], None]], None] = _apart,
    ) -> None:
        self._lease = lease
        self._end = end
        self._apart = apart
        self._asked: _Question | None = None

    def look(self, reached: int) -> None:
        """By the thread that hears, which has taken in all up to this position. Returns at once."""
        loss = self._lease.unproven
        if loss is None:
            return
        asked, now_ms = self._asked, self._lease.clock.monotonic_ms()
        if asked is None or (asked.is_over and _is_void(asked, loss, now_ms)):
            # The question comes after the loss was looked at: one that follows is another loss.
            self._asked = made = _Question(loss, now_ms)
            self._apart(lambda: self._ask(made))
        elif asked.loss == loss and asked.end is not None and reached >= asked.end:
            self._lease.prove(loss)

    def _ask(self, question: _Question) -> None:
        try:
            question.end = self._end()
        except StreamerError as error:
            _log.warning("answering as a copy until it is known what was missed: %s", error)
        finally:
            question.is_over = True


def _is_void(asked: _Question, loss: int, now_ms: int) -> bool:
    """Whether another question is due."""
    for_ms = now_ms - asked.asked_ms
    if asked.loss != loss:
        return True
    return for_ms >= (_PAUSE_MS if asked.end is None else _KEPT_MS)
