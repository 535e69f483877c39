"""A sandbox's directory: who holds it, and what runs in it.

The lock is an open file that the broker inherits, so it is held exactly as long as the broker or
the process that started it lives. `sandbox.json` says which process (0: none) and which ports; its
process may be believed only while the lock is held. The ports stay, for the next start.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO, NamedTuple

from streamer.errors import SandboxError

__all__ = [
    "TEMPORARY_PREFIX",
    "Description",
    "describe",
    "hold",
    "is_held",
    "remove_abandoned",
    "temporary",
    "write_description",
]

TEMPORARY_PREFIX = "streamer-sandbox-"


class Description(NamedTuple):
    """What `sandbox.json` holds."""

    pid: int
    port: int
    controller_port: int


# Somebody who only asks holds the lock for microseconds.
PATIENCE = 0.2


def hold(directory: Path, *, patience: float = PATIENCE) -> IO[str]:
    """The lock of a directory, which is made if it is missing. Closing the file gives it back.

    Raises:
        SandboxError: somebody else holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = (directory / "lock").open("a")
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            if time.monotonic() >= deadline:
                file.close()
                raise SandboxError(
                    f"another process uses the sandbox directory {directory}",
                    hint="stop that one, or name another directory",
                ) from None
        time.sleep(0.01)


def temporary() -> tuple[Path, IO[str]]:
    """A new directory and its lock. It has its name from when it is held: before, who removes what
    nobody holds would take it for such a one."""
    made = Path(tempfile.mkdtemp(prefix=f".{TEMPORARY_PREFIX}"))
    lock = hold(made)
    return made.rename(made.with_name(made.name.removeprefix("."))), lock


def is_held(directory: Path) -> bool:
    if not (directory / "lock").exists():
        return False
    try:
        hold(directory, patience=0).close()
    except SandboxError:
        return True
    return False


def describe(directory: Path) -> Description | None:
    """None where nothing was ever started."""
    path = directory / "sandbox.json"
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        return Description(*(int(found[name]) for name in Description._fields))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise SandboxError(f"cannot read {path}: {error}", hint="remove that file") from error


def write_description(directory: Path, description: Description) -> None:
    path = directory / "sandbox.json"
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(description._asdict()) + "\n", encoding="ascii")
    temporary.replace(path)


def remove_abandoned() -> None:
    """Remove temporary directories whose owner was killed: nobody holds their lock."""
    for directory in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"):
        try:
            if (directory / "lock").exists():
                with hold(directory, patience=0):
                    shutil.rmtree(directory, ignore_errors=True)
        except (OSError, SandboxError):
            continue  # of another user, or in use
