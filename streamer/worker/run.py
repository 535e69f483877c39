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

__all__ = ["Signals", "run", "run_topology"]

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
    signals: Signals | None = None,
) -> int:
    """`signals` are those of a process that runs several workers, one after the other."""
    return_freed_memory()
    worker = Worker(topology, config, slot=slot, solo=solo, follows=follows)
    (signals or Signals()).attach(worker, config)
    return worker.run()


class Signals:
    """SIGTERM and Ctrl-C ask for a stop, of the worker that runs; again they force it."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._worker: Worker | None = None
        self._config: Config | None = None

    @property
    def are_heard(self) -> bool:
        """Whether this process is to end, whatever it was to do next."""
        return self._asked.is_set()

    def attach(self, worker: Worker, config: Config) -> None:
        """From here on they stop this worker; one that was heard before stops it at once."""
        self._worker, self._config = worker, config
        signal.signal(signal.SIGTERM, self._hear)
        signal.signal(signal.SIGINT, self._hear)
        if self.are_heard:
            worker.stop()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        assert self._worker is not None
        assert self._config is not None
        name = signal.Signals(number).name
        if self.are_heard:
            _log.warning("%s again: stopping at once; the uncommitted rest is done again", name)
            os._exit(_FORCED)
        self._asked.set()
        _log.info("%s: stopping after a last commit; again to stop at once", name)
        self._worker.stop()
        # A loop that hangs in user code or waits for brokers must not hold up the host.
        timer = threading.Timer(self._config.shutdown_timeout_ms / 1000, _give_up, (self._config,))
        timer.daemon = True
        timer.start()


def _give_up(config: Config) -> None:
    _log.error(
        "not stopped within shutdown_timeout_ms=%d: ending; the uncommitted rest is done again",
        config.shutdown_timeout_ms,
    )
    os._exit(1)
