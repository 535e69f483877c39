"""A sandbox that outlives the command that started it: `up`, `down`, `status`.

Its directory says all there is to know, so the three may be called from different processes, at
the same time and repeatedly.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamer.errors import SandboxError
from streamer.sandbox.broker import START_TIMEOUT, STOP_TIMEOUT, Sandbox
from streamer.sandbox.directory import describe, is_held
from streamer.sandbox.process import cluster_id, tail

__all__ = ["Status", "default_directory", "down", "status", "up"]


@dataclass(frozen=True, slots=True)
class Status:
    """What runs in a directory. `pid` is 0 and `bootstrap_servers` empty where nothing does."""

    directory: Path
    is_running: bool
    is_answering: bool
    pid: int
    bootstrap_servers: str
    log: Path


def default_directory() -> Path:
    """`$XDG_STATE_HOME/streamer/sandbox`, else `~/.local/state/streamer/sandbox`."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base else Path.home() / ".local" / "state") / "streamer" / "sandbox"


def up(
    directory: str | Path,
    *,
    port: int = 0,
    heap_mib: int = 512,
    settings: Mapping[str, str] | None = None,
    timeout: float = START_TIMEOUT,
) -> Status:
    """Start a broker that stays when this process ends, or find the one that runs there.

    Raises:
        SandboxError: it did not start, or the one that runs there does not answer.
    """
    directory = Path(directory).absolute()
    sandbox = Sandbox(directory, port=port, heap_mib=heap_mib, settings=settings, bound=False)
    if not is_held(directory):
        sandbox.start(timeout=timeout)
        return status(directory)
    deadline = time.monotonic() + timeout
    while not (found := status(directory)).is_answering:
        if time.monotonic() >= deadline:
            raise SandboxError(
                f"the Kafka in {directory} (pid {found.pid}) does not answer. The end of its log:\n"
                f"{tail(found.log)}",
                hint="stop it with `streamer sandbox down` and start it again",
            )
        time.sleep(0.1)
    return found


def down(
    directory: str | Path, *, timeout: float = STOP_TIMEOUT, remove_data: bool = False
) -> bool:
    """Stop the broker of a directory; True if one was running.

    The data stays unless `remove_data`. After `timeout` seconds the broker is ended by force.
    """
    directory = Path(directory).absolute()
    was_running = is_held(directory)
    if was_running:
        description = describe(directory)
        if description is None or description.pid == 0:
            raise SandboxError(f"the sandbox in {directory} is still starting", hint="try again")
        # A paused process would not see the request to end.
        for number in (signal.SIGCONT, signal.SIGTERM):
            _send(description.pid, number)
        if not _is_free_within(directory, timeout):
            _send(description.pid, signal.SIGKILL)
            if not _is_free_within(directory, 5.0):
                raise SandboxError(
                    f"another process than the broker (pid {description.pid}) holds {directory}",
                    hint="stop the program that started this sandbox",
                )
    if remove_data and directory.exists():
        shutil.rmtree(directory)
    return was_running


def status(directory: str | Path) -> Status:
    """What runs in a directory right now; asks the broker itself."""
    directory = Path(directory).absolute()
    log = directory / "kafka.log"
    description = describe(directory) if is_held(directory) else None
    if description is None or description.pid == 0:
        return Status(directory, False, False, 0, "", log)
    address = f"127.0.0.1:{description.port}"
    return Status(
        directory, True, cluster_id(description.port) != "", description.pid, address, log
    )


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_free_within(directory: Path, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while is_held(directory):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True
