"""The state of an application that is gone for good, taken off the disk of a host."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from pathlib import Path

from streamer.errors import StateDirectoryError
from streamer.store.directory import WorkerDirectory

__all__ = ["remove_state"]

_log = logging.getLogger(__name__)


def remove_state(state_dir: Path, application_id: str) -> list[str]:
    """Remove what workers of this host have of an application; returns the workers. One that still
    runs keeps its own, and what cannot be removed stays, and is told."""
    base = state_dir / application_id
    removed = []
    for path in sorted(base.glob("worker-*")):
        number = path.name.removeprefix("worker-")
        if not number.isdecimal():
            continue
        try:
            with WorkerDirectory.open(state_dir, application_id, slot=int(number)) as own:
                removed.append(own.worker_id)
                shutil.rmtree(path)
        except StateDirectoryError as error:
            _log.info("%s stays: %s", path, error)
        except OSError as error:
            _log.warning("%s cannot be removed: %s", path, error.strerror)
    # Not where one stays.
    with suppress(OSError):
        base.rmdir()
    return removed
