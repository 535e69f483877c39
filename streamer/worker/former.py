"""What this worker's disk has of layouts that the application has left, until it may go.

    a layout is recorded -> told in every status, with its bytes
    completed (an order that stands for good) -> renamed, removed

A directory has the state of the task and of the layout that its name says, and belongs to whom the
slot belongs: there is no other state of that name. It goes only where the order names that layout
and this worker runs a later one, so that what is open here is never touched.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from streamer import failpoints
from streamer.control.orders import FormerOrder, Order
from streamer.errors import ConfigError, StateDirectoryError
from streamer.ids import parse_state_name
from streamer.snapshot.adopt import STAGING, staging_of
from streamer.snapshot.disk import sync
from streamer.store.directory import TaskDirectory, WorkerDirectory
from streamer.worker.shadow_marks import REMOVED, marks

__all__ = ["Former", "remove_former"]

_log = logging.getLogger(__name__)

_AGAIN_S = 10.0


class Former:
    """Of the layouts before the one that the directory runs. Used by the loop's thread."""

    def __init__(self, directory: WorkerDirectory) -> None:
        tasks = directory.path / "tasks"
        # A copy for a layout that never came has its mark, and goes by that.
        marked = {one.path for one in marks(tasks)}
        self._left = {
            one.path.name: one
            for one in _states(tasks)
            if one.layout < directory.layout.since(one.task.subtopology) and one.path not in marked
        }
        self._bytes = {name: _size(one.path) for name, one in self._left.items()}
        self._heard: tuple[Order, ...] | None = None
        self._order: FormerOrder | None = None
        self._removal: _Removal | None = None
        self._again_s = 0.0

    def told(self) -> Mapping[str, int]:
        """The bytes of each directory that is there, by its name."""
        return self._bytes

    def turn(self, orders: tuple[Order, ...]) -> bool:
        """Do what is due with these orders, all that stand; the same object while they do not
        change. Returns whether there is something to tell at once."""
        if orders is not self._heard:
            self._heard = orders
            self._order = next((one for one in orders if isinstance(one, FormerOrder)), None)
        if self._removal is not None:
            return self._take_removed(self._removal)
        if self._order is None or time.monotonic() < self._again_s:
            return False
        due = [one for name, one in self._left.items() if self._order.names(name)]
        if due:
            self._removal = _Removal(due)
        return False

    def _take_removed(self, removal: _Removal) -> bool:
        if not removal.is_done:
            return False
        self._removal, self._again_s = None, time.monotonic() + _AGAIN_S
        for name in removal.removed:
            del self._left[name]
        self._bytes = {name: size for name, size in self._bytes.items() if name in self._left}
        return bool(removal.removed)


class _Removal:
    """In a thread of its own, which a large directory keeps busy for seconds."""

    def __init__(self, due: Iterable[TaskDirectory]) -> None:
        self.removed: list[str] = []
        self._due = list(due)
        self._thread = threading.Thread(target=self._run, name="former state", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        for one in self._due:
            try:
                remove_former(one.path)
            except StateDirectoryError as error:
                _log.error("%s", error.describe())
                continue
            self.removed.append(one.path.name)
            _log.info("%s is removed: layout %d was left for good", one.path, one.layout)


def remove_former(path: Path) -> None:
    """A database that nobody opens any more, and what belongs to it. Cut anywhere, the rest goes at
    the next start, or is done again. Raises StateDirectoryError where the disk refuses."""
    aside = path.with_name(f"{path.name}{REMOVED}")
    try:
        failpoints.hit("former.before_removed")
        path.with_name(f"{path.name}.digests").unlink(missing_ok=True)
        shutil.rmtree(staging_of(path), ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
        if path.exists():
            path.rename(aside)
            sync(path.parent)
            failpoints.hit("former.after_renamed")
            shutil.rmtree(aside)
    except OSError as error:
        raise StateDirectoryError(
            f"the former state in {path} cannot be removed: {error.strerror}",
            hint="it is of no use any more: correct what the system says, or remove it by hand",
        ) from error


def _states(tasks: Path) -> list[TaskDirectory]:
    """Whatever is there of a task, in order: also what was fetched of a snapshot for a database
    that was never made, since the layout was left before."""
    paths = {
        path.with_name(path.name.removesuffix(STAGING)): None
        for path in sorted(tasks.glob("*"))
        if path.is_dir()
    }
    found = []
    for path in paths:
        with suppress(ConfigError):
            found.append(TaskDirectory(*parse_state_name(path.name), path))
    return sorted(found, key=lambda one: (one.layout, one.task))


def _size(path: Path) -> int:
    return sum(
        one.stat().st_size
        for each in (path, staging_of(path))
        for one in each.rglob("*")
        if one.is_file()
    )
