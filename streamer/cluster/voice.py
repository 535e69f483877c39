"""What a process says of itself in Kafka, and the lease that it has for being heard."""

from __future__ import annotations

import logging
import threading

from msgspec.structs import replace

from streamer.clock import Clock
from streamer.cluster.lease import Lease
from streamer.cluster.seat import Seat
from streamer.control.fitting import fitted
from streamer.control.identity import Incarnation
from streamer.control.messages import StatusRecord
from streamer.errors import StreamerError
from streamer.ids import TopicPartition
from streamer.kafka.table import TableWriter

__all__ = ["Voice"]

_log = logging.getLogger(__name__)


class Voice:
    """Writes the statuses of a seat, which `lock` guards, to `place`."""

    def __init__(
        self,
        seat: Seat,
        writer: TableWriter,
        place: TopicPartition,
        *,
        lock: threading.Lock,
        lease: Lease,
        clock: Clock,
        interval_ms: int,
    ) -> None:
        self._application = place.topic.rpartition(".")[0]
        self._left_out = ""
        self._seat = seat
        self._writer = writer
        self._place = place
        self._lock = lock
        self._lease = lease
        self._clock = clock
        self._interval_ms = interval_ms

    def publish(self) -> None:
        """Write the status if it is news, or time. Raises StreamerError where an earlier one was
        refused, ConfigError where it does not fit into a record."""
        with self._lock:
            self._writer.look()
            now_ms = self._clock.monotonic_ms()
            record = self._seat.status(
                now_ms, interval_ms=self._interval_ms, wall_ms=self._clock.now_ms()
            )
            if record is None:
                return
            incarnation = self._seat.incarnation
            value = self._encoded(record)
            try:
                self._writer.put(
                    self._place,
                    self._seat.worker,
                    value,
                    arrived=lambda: self._arrived(incarnation, now_ms),
                )
            except StreamerError:
                # It was not written: what it told is news still.
                self._seat.unsaid()
                raise

    def _encoded(self, record: StatusRecord) -> bytes:
        value, left_out = fitted(replace(record, application=self._application))
        if left_out and left_out != self._left_out:
            _log.warning("a status is too large for a record: it goes without %s", left_out)
        self._left_out = left_out
        return value

    def flush(self, timeout_s: float) -> None:
        """Wait until all is written. Raises KafkaUnavailableError."""
        self._writer.flush(timeout_s)

    def close(self) -> None:
        self._writer.close()

    def _arrived(self, incarnation: Incarnation, sent_ms: int) -> None:
        # What an earlier life said counts for nothing in this one.
        if incarnation == self._seat.incarnation:
            self._lease.renew(sent_ms)
