"""Several worker processes of one host: start them, pass signals on, tell when one ends.

Processes are started anew, never forked: RocksDB does not survive a fork (it hung every time that
this was tried). A process that ends by itself is not started again: whoever supervises this one
(systemd, Kubernetes) decides, and the other workers take its tasks over meanwhile. Where this one
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
from streamer.launch import launched

__all__ = ["run_processes"]

_log = logging.getLogger(__name__)
_POLL_S = 0.2
# What the children need beyond their own shutdown timeout to say goodbye.
_GRACE_S = 5.0


def run_processes(command: Sequence[str], config: Config, processes: int) -> int:
    """Run `command --slot N` for each slot until a signal; returns the worst exit code."""
    # In a session of their own the children do not get Ctrl-C from the terminal a second time.
    children = [
        subprocess.Popen(
            launched([*command, "--slot", str(slot)], signal.SIGTERM), start_new_session=True
        )
        for slot in range(processes)
    ]
    stopping = _pass_signals_on(children)
    codes: dict[int, int] = {}
    deadline: float | None = None
    while len(codes) < processes:
        time.sleep(_POLL_S)
        for slot, process in enumerate(children):
            if slot not in codes and process.poll() is not None:
                codes[slot] = process.returncode
                level = logging.INFO if stopping.is_set() else logging.ERROR
                _log.log(level, "worker %d has ended with code %d", slot, process.returncode)
        if stopping.is_set() and deadline is None:
            deadline = time.monotonic() + config.shutdown_timeout_ms / 1000 + _GRACE_S
        if deadline is not None and time.monotonic() > deadline:
            for process in children:
                process.kill()
    return max(abs(code) for code in codes.values())


def _pass_signals_on(children: Sequence[subprocess.Popen[bytes]]) -> threading.Event:
    stopping = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        stopping.set()
        for process in children:
            if process.poll() is None:
                process.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping
