"""What the main thread of a worker has around a bootstrap, without a thread or a broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.orders import FORMAT, RebuildOrder
from streamer.errors import ChangelogTrimmedError, StateOutdatedError, StreamerError
from streamer.ids import TaskId
from streamer.restore.bootstrap import Bootstrap, Phase, Wanted
from streamer.restore.progress import RestoreProgress
from streamer.snapshot.adopt import staging_of
from streamer.snapshot.fetch import Fetched
from streamer.snapshot.transfer import Progress
from streamer.worker.bootstrapping import Bootstrapping
from tests.unit.restore.test_usable import manifest

TASK, OTHER = TaskId(0, 3), TaskId(0, 4)
TRIMMED = ChangelogTrimmedError("it stands at 5, but the changelog begins at 9")
OUTDATED = StateOutdatedError("it is 9.0 days too old")


class Worker:
    """Roles, restorer and pool, as the main thread sees them."""

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        given = {
            "snapshot_repository": "file:///snapshots",
            "snapshot_export_address": "ssh://{host}/x",
            "worker_id": "me",
            **settings,
        }
        self.config = Config(application_id="app", **given)
        self.tasks = tmp_path / "tasks"
        self.left: dict[TaskId, int] = {}
        self.restored: dict[TaskId, int] = {}
        self.restoring = {TASK, OTHER}
        self.active: set[TaskId] = set()
        self.serving: set[TaskId] = set()
        self.cancelled: list[TaskId] = []
        self.reopened: list[TaskId] = []
        self.whole: list[TaskId] = []
        self.lost: dict[TaskId, StreamerError] = {}
        self.removed: list[str] = []
        self.held: frozenset[TaskId] = frozenset()
        self.begun: list[Bootstrap] = []
        self.over: list[Bootstrap] = []
        self.clock = ManualClock(1_000)
        around: Any = self
        self.glue = Bootstrapping(
            around, self._wants, restorer=around, config=self.config, pool=around
        )

    # -- roles

    def is_open_for_restore(self, task: TaskId) -> bool:
        return task in self.restoring

    def is_active(self, task: TaskId) -> bool:
        return task in self.active

    def is_serving(self, task: TaskId) -> bool:
        return task in self.serving

    def reopen(self, task: TaskId, exchange: Callable[[], None]) -> None:
        self.glue.forget(task)
        self.restored.pop(task, None)
        exchange()
        self.reopened.append(task)
        self.glue.opened(task, self.target(task))

    def restore_whole(self, task: TaskId, _error: StreamerError) -> None:
        self.whole.append(task)

    def give_up(self, task: TaskId, error: StreamerError) -> None:
        self.lost[task] = error

    # -- the restorer

    def progress(self, task: TaskId) -> RestoreProgress:
        return RestoreProgress(
            restored_records=self.restored.get(task, 0),
            remaining_offsets=self.left.get(task, -1),
        )

    # -- the pool, and what is around a bootstrap

    def begin(self, wanted: Wanted) -> Bootstrap:
        around: Any = self
        self.begun.append(Bootstrap(wanted, around, Phase.LOOKING))
        return self.begun[-1]

    def cancel(self, one: Any) -> None:
        if isinstance(one, Bootstrap):
            one.cancel()
        else:
            self.cancelled.append(one)

    def ended(self) -> list[Bootstrap]:
        found, self.over = self.over, []
        return [one for one in found if not one.is_cancelled]

    def is_busy(self, _task: TaskId) -> bool:
        return False

    def remove(self, path: Path) -> None:
        self.removed.append(path.name)

    # -- the test's own

    def target(self, task: TaskId) -> Path:
        return self.tasks / str(task)

    def _wants(self, task: TaskId, local_offsets: int | None) -> Wanted:
        return Wanted(
            task=task,
            target=self.target(task),
            changelogs={},
            kinds={},
            local_offsets=local_offsets,
        )

    def open(self, task: TaskId, left: int) -> None:
        self.target(task).mkdir(parents=True, exist_ok=True)
        self.glue.opened(task, self.target(task))
        self.left[task] = left
        self.glue.turn()

    def fetching(self) -> Bootstrap:
        one = self.begun[-1]
        one.phase = Phase.FETCHING
        one.progress = Progress(2, 100, 1, 40, 40)
        self.glue.turn()
        return one

    def end(self, one: Bootstrap, *, error: StreamerError | None = None) -> None:
        if error is not None:
            one.error, one.phase = error, Phase.FAILED
        elif one.choice is not None:
            one.phase = Phase.CHOSEN
        else:
            files = staging_of(one.wanted.target) / "files"
            files.mkdir(parents=True)
            (files / "CURRENT").write_text("new")
            one.fetched = Fetched(manifest(), files, 60, 40)
            one.phase = Phase.READY
        self.over.append(one)
        self.glue.turn()


def order(number: str = "one", *, worker: str = "me", at_ms: int = 1, **more: str) -> RebuildOrder:
    return RebuildOrder(
        format=FORMAT, operation=number, task="0_3", worker=worker, at_ms=at_ms, **more
    )
