"""Watches the loop from outside: health, gauges, and the stacks of a loop that is stuck."""

from __future__ import annotations

import logging
import sys
import threading
import traceback

from streamer import metrics
from streamer.clock import Clock
from streamer.config import Config
from streamer.worker.gauges import Gauges
from streamer.worker.loop import Loop
from streamer.worker.serving import WorkerServing

__all__ = ["Watch"]

_log = logging.getLogger(__name__)
_INTERVAL_S = 1.0


class Watch:
    """A thread that looks once a second."""

    def __init__(
        self,
        config: Config,
        loop: Loop,
        serving: WorkerServing,
        *,
        gauges: Gauges,
        clock: Clock,
    ) -> None:
        self._config = config
        self._loop = loop
        self._serving = serving
        self._gauges = gauges
        self._clock = clock
        self._closing = threading.Event()
        self._reported = False
        self._thread = threading.Thread(target=self._run, name="streamer-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=2 * _INTERVAL_S)

    def _run(self) -> None:
        while not self._closing.wait(_INTERVAL_S):
            try:
                self._look()
                self._gauges.measure()
            except Exception:
                _log.exception("the worker's gauges could not be measured, trying again")

    def _look(self) -> None:
        stuck_ms = self._clock.monotonic_ms() - self._loop.turned_ms
        is_stuck = stuck_ms > self._config.processing_timeout_ms
        metrics.loop_stuck_seconds.set(stuck_ms / 1000 if is_stuck else 0)
        self._serving.stuck_ms = stuck_ms if is_stuck else 0
        if is_stuck and not self._reported:
            _log.error(
                "no progress for %d s; where all threads are:\n%s", stuck_ms // 1000, _stacks()
            )
        self._reported = is_stuck


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"{names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )
