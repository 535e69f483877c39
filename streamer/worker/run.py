"""Run one worker in this process until SIGTERM or Ctrl-C; a second signal forces the end."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType

from streamer.config import Config
from streamer.topology.app import App
from streamer.topology.graph import Topology
from streamer.worker.followed import Lead
from streamer.worker.malloc import return_freed_memory
from streamer.worker.worker import Worker

__all__ = ["run", "run_topology"]

_log = logging.getLogger(__name__)
_FORCED = 130


def run(app: App, config: Config, *, slot: int | None = None, solo: bool = False) -> int:
    """Run a worker; returns the exit code. Raises the StreamerError that ended it."""
    return run_topology(app.topology(), config, slot=slot, solo=solo)


def run_topology(
    topology: Topology,
    config: Config,
    *,
    slot: int | None = None,
    solo: bool = False,
    follows: Lead | None = None,
) -> int:
    return_freed_memory()
    worker = Worker(topology, config, slot=slot, solo=solo, follows=follows)
    _stop_on_signals(worker, config)
    return worker.run()


def _stop_on_signals(worker: Worker, config: Config) -> None:
    asked = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if asked.is_set():
            _log.warning("%s again: stopping at once; the uncommitted rest is done again", name)
            os._exit(_FORCED)
        asked.set()
        _log.info("%s: stopping after a last commit; again to stop at once", name)
        worker.stop()
        # A loop that hangs in user code or waits for brokers must not hold up the host.
        timer = threading.Timer(config.shutdown_timeout_ms / 1000, _give_up, (config,))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _give_up(config: Config) -> None:
    _log.error(
        "not stopped within shutdown_timeout_ms=%d: ending; the uncommitted rest is done again",
        config.shutdown_timeout_ms,
    )
    os._exit(1)
