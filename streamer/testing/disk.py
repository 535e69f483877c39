"""What a kill leaves on disk: a copy of databases that are open, as they are at one moment.

RocksDB flushes and compacts in threads of its own while files are copied one after another. A copy
in which a list of files is older than the files would be damaged, as no kill leaves it; so a copy
counts only if nothing changed while it was made.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from streamer.errors import StateDirectoryError

__all__ = ["copy_at_rest"]

_WAIT_S = 10.0
_AGAIN_S = 0.005
# RocksDB's own words, which change without any change of the data.
_LOGS = ("LOG", "LOG.old.")


def copy_at_rest(source: Path, target: Path) -> None:
    """Copy a directory of databases that nobody writes to. Raises StateDirectoryError if their
    background work does not come to rest within seconds."""
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        try:
            before = _files(source)
            shutil.copytree(source, target, dirs_exist_ok=True)
            if _files(source) == before:
                return
        except (shutil.Error, FileNotFoundError):
            pass
        shutil.rmtree(target, ignore_errors=True)
        time.sleep(_AGAIN_S)
    raise StateDirectoryError(
        f"the databases in {source} did not come to rest for {_WAIT_S:.0f} s, so they cannot be"
        " copied as a crash would leave them",
        hint="send less before the crash, or give the test's machine more time",
    )


def _files(directory: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its size and the time of its last change."""
    found = {}
    for path in directory.rglob("*"):
        if not path.name.startswith(_LOGS) and path.is_file():
            status = path.stat()
            found[path] = (status.st_size, status.st_mtime_ns)
    return found
