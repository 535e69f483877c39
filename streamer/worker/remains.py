"""What exchanges leave on the disk: the former directory, until the new one serves, and what was
fetched in vain, until nothing can use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamer import failpoints
from streamer.ids import TaskId
from streamer.restore.bootstraps import Bootstraps
from streamer.restore.note import Note, former_of, read_note
from streamer.snapshot.adopt import staging_of

__all__ = ["Remains"]


class Remains:
    """Of the tasks and copies that are open. Used by the main thread."""

    def __init__(self) -> None:
        self.notes: dict[TaskId, Note] = {}
        self._former: dict[TaskId, Path] = {}
        self._staging: dict[TaskId, Path] = {}

    def opened(self, task: TaskId, directory: Path) -> None:
        """Look at what is beside a database, also from before this process began."""
        self.forget(task)
        self.leave(task, directory)
        note = read_note(directory)
        if note is not None:
            self.notes[task] = note
            former = former_of(directory, note)
            if former is not None:
                self._former[task] = former

    def leave(self, task: TaskId, target: Path) -> None:
        """A fetch was cut: what it has left is for the next one, until the task serves."""
        staging = staging_of(target)
        if staging.is_dir():
            self._staging[task] = staging

    def forget(self, task: TaskId) -> None:
        """It is closed; what is on the disk stays."""
        for known in (self.notes, self._former, self._staging):
            known.pop(task, None)

    def clean(
        self,
        pool: Bootstraps,
        *,
        is_serving: Callable[[TaskId], bool],
        is_wanted: Callable[[TaskId], bool],
    ) -> None:
        """Remove what nobody needs any more."""
        for task in [task for task in self._former if is_serving(task)]:
            failpoints.hit("bootstrap.before_former_removed")
            pool.remove(self._former.pop(task))
        for task in [task for task in self._staging if is_serving(task)]:
            if not (is_wanted(task) or pool.is_busy(task)):
                pool.remove(self._staging.pop(task))
