"""Transactions that fail again and again, with nothing committed in between, end the worker."""

from __future__ import annotations

import logging
import time

from streamer import metrics
from streamer.errors import KafkaUnavailableError, StreamerError
from streamer.kafka.api import RefusedError

__all__ = ["Aborts"]

_log = logging.getLogger(__name__)

_MAX = 20
_PAUSE_S = 0.05


class Aborts:
    """Those since the last commit."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, reason: StreamerError) -> None:
        """One more; waits before the next try, longer each time. Raises KafkaUnavailableError where
        they are too many. What brokers refused the next try leaves out: it is a first one."""
        metrics.transaction_aborts.inc()
        _log.warning("transaction aborted, its records are processed again: %s", reason)
        self._count = 0 if isinstance(reason, RefusedError) else self._count + 1
        if self._count > _MAX:
            raise KafkaUnavailableError(
                f"{self._count} transactions in a row failed, the last one: {reason}",
                hint="the brokers' logs say why; nothing was lost, restart when it is mended",
            )
        time.sleep(_PAUSE_S * self._count)

    def over(self) -> None:
        """Something was committed."""
        self._count = 0
