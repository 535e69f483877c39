"""Several worker processes of one host: start them, keep them running, pass signals on.

Processes are started anew, never forked: RocksDB does not survive a fork (it hung every time that
this was tried). One that ends by itself is started again after a pause that grows, while its
siblings go on. This process ends by itself where that is of no use: when none is left, or one
refuses its configuration; whoever supervises it (systemd, Kubernetes) then decides. Where this one
is killed, its workers stop as by SIGTERM (on Linux), and free their slots.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from types import FrameType

from streamer.config import Config
from streamer.errors import UsageError
from streamer.launch import launched

__all__ = ["run_processes"]

_log = logging.getLogger(__name__)
_POLL_S = 0.2
# What the children need beyond their own shutdown timeout to say goodbye.
_GRACE_S = 5.0
# A worker that ended at once will most likely do so again; one that had worked, not.
_PAUSE_S, _PAUSE_S_MAX = 1.0, 30.0
_SETTLED_S = 60.0


class _Child:
    """One slot: its process, or the code that the last one ended with."""

    def __init__(self, command: Sequence[str], slot: int, *, may_end: bool) -> None:
        self._may_end = may_end
        self._command = [*command, "--slot", str(slot)]
        self._again_s = 0.0
        self.slot = slot
        self.pause_s = 0.0
        """From its end to its next start; longer each time that it did not work for a while."""
        self.code: int | None = None
        self.start()

    def start(self) -> None:
        # In a session of their own the children do not get Ctrl-C from the terminal a second time.
        self._process = subprocess.Popen(
            launched(self._command, signal.SIGTERM), start_new_session=True
        )
        self._began_s = time.monotonic()
        self.code = None

    def send(self, number: int) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def has_ended(self) -> bool:
        """Whether it has ended since the last look."""
        if self.code is not None or self._process.poll() is None:
            return False
        self.code = self._process.returncode
        now_s = time.monotonic()
        longer_s = 0.0 if now_s - self._began_s >= _SETTLED_S else 2 * self.pause_s
        self.pause_s = min(max(longer_s, _PAUSE_S), _PAUSE_S_MAX)
        self._again_s = now_s + self.pause_s
        return True

    @property
    def is_due(self) -> bool:
        return self.code is not None and not self.is_done and time.monotonic() >= self._again_s

    @property
    def is_done(self) -> bool:
        return self._may_end and self.code == 0


def run_processes(
    command: Sequence[str], config: Config, processes: int, *, may_end: bool = False
) -> int:
    """Run `command --slot N` for each slot until a signal; returns the worst exit code. Where they
    `may_end`, one that ends with 0 has done what it was to do."""
    children = [_Child(command, slot, may_end=may_end) for slot in range(processes)]
    stopping = _pass_signals_on(children)
    while not stopping.is_set():
        time.sleep(_POLL_S)
        if not _keep_running(children, stopping):
            break
    return _end(children, stopping, config)


def _keep_running(children: Sequence[_Child], stopping: threading.Event) -> bool:
    """Start again what has ended; False where that is of no use."""
    ended = [child for child in children if child.has_ended() and not child.is_done]
    if stopping.is_set() or all(child.is_done for child in children):
        return False
    for child in ended:
        if child.code == UsageError.exit_code:
            _log.error("worker %d refuses to start (code %d): ending", child.slot, child.code)
            return False
    if all(child.code is not None and not child.is_done for child in children):
        for child in ended:
            _log.error("worker %d has ended with code %d: none is left", child.slot, child.code)
        return False
    for child in ended:
        _log.error(
            "worker %d has ended with code %d: starting it again in %d s",
            child.slot,
            child.code,
            child.pause_s,
        )
    for child in children:
        if child.is_due:
            child.start()
            if stopping.is_set():  # the signal came in between, and did not reach it
                child.send(signal.SIGTERM)
    return True


def _end(children: Sequence[_Child], stopping: threading.Event, config: Config) -> int:
    """Stop those that live, and wait for them. What ended before a stop that was asked for was
    mended or replaced, and says nothing any more."""
    codes = [] if stopping.is_set() else [_exit_code(child.code) for child in children]
    left = [child for child in children if child.code is None]
    for child in left:
        if not stopping.is_set():
            child.send(signal.SIGTERM)
    deadline = time.monotonic() + config.shutdown_timeout_ms / 1000 + _GRACE_S
    while any(child.code is None for child in left):
        for child in left:
            if child.has_ended():
                _log.info("worker %d has ended with code %d", child.slot, child.code)
            elif time.monotonic() > deadline:
                child.send(signal.SIGKILL)
        time.sleep(_POLL_S)
    return max([*codes, *(_exit_code(child.code) for child in left)], default=0)


def _exit_code(code: int | None) -> int:
    """As a shell tells it. A stop that came before a worker could hear it is a clean one."""
    if code is None or -code in (signal.SIGTERM, signal.SIGINT):
        return 0
    return code if code >= 0 else 128 - code


def _pass_signals_on(children: Sequence[_Child]) -> threading.Event:
    stopping = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        stopping.set()
        for child in children:
            child.send(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping
