"""All processes of an Airflow, also those that nobody is the parent of any more.

A task's process leaves its group, and a worker of the local executor outlives a killed scheduler;
but none leaves the *session* that the keeper began. And each inherits the open lock of the
directory: as long as one of them lives, the lock is held.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from streamer.errors import SandboxError
from streamer.sandbox.directory import hold, is_held

__all__ = [
    "PREFIX",
    "State",
    "end",
    "end_leftovers",
    "members",
    "read",
    "remove_abandoned",
    "write",
]

PREFIX = "streamer-airflow-"
_PROC = Path("/proc")
# What a keeper may take to end everything, after its parent has died.
_KEEPER_S = 30.0
_LOOK_S = 0.1


class State(msgspec.Struct, frozen=True):
    """What `state.json` of a directory says: process ids (0: none), port, and how often a part had
    to be started again. It may be believed only while the lock is held."""

    launcher: int
    keeper: int = 0
    port: int = 0
    parts: dict[str, int] = {}
    restarts: int = 0


def read(home: Path) -> State | None:
    """None where nothing was ever started. Raises SandboxError for a damaged file."""
    path = home / "state.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise SandboxError(f"cannot read {path}: {error}", hint="remove that file") from error


def write(home: Path, state: State) -> None:
    temporary = home / "state.new"
    temporary.write_bytes(msgspec.json.encode(state))
    temporary.replace(home / "state.json")


def members(session: int) -> list[int]:
    """The living processes of a session, without the one that began it."""
    return [pid for pid, of in _sessions() if of == session and pid != session]


def end(session: int, grace_s: float) -> int:
    """Ask all members to end, end those that have not after `grace_s`, and return how many there
    were. Raises SandboxError where one cannot be ended."""
    count = len(members(session))
    _signal(session, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while members(session) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    # A process may be born while the others are ended.
    deadline = time.monotonic() + 10
    while left := members(session):
        if time.monotonic() > deadline:
            raise SandboxError(f"cannot end the processes {left} of Airflow")
        _signal(session, signal.SIGKILL)
        time.sleep(_LOOK_S)
    return count


def end_leftovers(home: Path, *, grace_s: float = 5.0) -> int:
    """End what a killed Airflow of this directory left behind; how many processes that were.

    Raises SandboxError where an Airflow runs there that nobody killed.
    """
    if not is_held(home):
        return 0
    state = read(home)
    deadline = time.monotonic() + _KEEPER_S
    while state is not None and _is_keeper(state.keeper) and not _is_alive(state.launcher):
        # Its parent is gone, so it is about to end everything by itself.
        if time.monotonic() > deadline:
            _kill(state.keeper)
        time.sleep(_LOOK_S)
    if not is_held(home):
        return 0
    if state is None or not state.keeper or _is_keeper(state.keeper):
        at = f", at http://127.0.0.1:{state.port}" if state is not None and state.port else ""
        raise SandboxError(
            f"an Airflow runs in {home} already{at}",
            hint="stop it where it was started, or name another directory",
        )
    count = end(state.keeper, grace_s)
    deadline = time.monotonic() + 5
    while is_held(home):
        if time.monotonic() > deadline:
            raise SandboxError(
                f"another process holds {home / 'lock'}",
                hint="`fuser` of that file names it: end it, or name another directory",
            )
        time.sleep(_LOOK_S)
    return count


def remove_abandoned() -> int:
    """End and remove what killed programs left in temporary directories; how many processes."""
    count = 0
    for home in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not (home / "lock").exists():
            continue
        # Those of another user, and those that are in use, stay.
        with suppress(OSError, SandboxError):
            count += end_leftovers(home)
            with hold(home, patience=0):
                shutil.rmtree(home, ignore_errors=True)
    return count


def _sessions() -> Iterator[tuple[int, int]]:
    """Every process that is not a zombie, with its session."""
    if _PROC.joinpath("self", "stat").exists():
        for entry in _PROC.glob("[0-9]*/stat"):
            with suppress(OSError):
                # pid (any name) state parent group session ...
                fields = entry.read_text(errors="replace").rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    yield int(entry.parent.name), int(fields[3])
        return
    listed = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True)
    for line in listed.stdout.splitlines():
        pid, status = line.split(None, 1)
        if not status.startswith("Z"):
            with suppress(OSError):
                yield int(pid), os.getsid(int(pid))


def _signal(session: int, number: signal.Signals) -> None:
    for pid in members(session):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_keeper(pid: int) -> bool:
    """A number alone may be another process's by now."""
    if not pid:
        return False
    command = ["ps", "-o", "stat=,command=", "-p", str(pid)]
    try:
        text = _PROC.joinpath(str(pid), "cmdline").read_text(errors="replace")
    except OSError:
        if _PROC.joinpath("self", "stat").exists():
            return False
        text = subprocess.run(command, capture_output=True, text=True).stdout
    return "demo.airflow.keeper" in text
