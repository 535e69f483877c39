"""A worker that begins anew in its process, since another layout was recorded.

Workers read the record within a second, one after the other. Until all have, those of the former
layout and those of the new one refuse each other, as they do where topologies differ: that passes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from streamer.clock import Clock
from streamer.errors import LayoutChangedError, StreamerError

__all__ = ["Following"]

_log = logging.getLogger(__name__)

# A worker that was killed at that moment is listed until its session ends, and then fenced.
_SETTLE_MS = 120_000
_PAUSE_S = 1.0


class Following:
    """Of one process. `stopping` ends every wait."""

    def __init__(self, clock: Clock, stopping: threading.Event) -> None:
        self._clock = clock
        self._stopping = stopping
        self._moved_ms: int | None = None

    def begins_anew(self, error: StreamerError, is_newer: Callable[[], bool]) -> bool:
        """Wait until it may; False where it is to stop. Raises an error that does not pass.

        `is_newer` looks whether another layout is recorded: others may refuse this worker for it
        before it has read that itself.
        """
        now_ms = self._clock.monotonic_ms()
        is_moving = self._moved_ms is not None and now_ms - self._moved_ms <= _SETTLE_MS
        if isinstance(error, LayoutChangedError) or (not is_moving and is_newer()):
            self._moved_ms = now_ms
            _log.warning("%s. Its tasks are closed; beginning anew", error)
            return not self._stopping.is_set()
        if not is_moving:
            raise error
        _log.warning("not all workers have the new layout yet, trying again: %s", error)
        return not self._stopping.wait(_PAUSE_S)
