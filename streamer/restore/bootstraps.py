"""The threads that bootstrap: a few at a time, one for a task, none of them waited for.

The worker's main thread begins and cancels, and asks what has ended. A thread that is cut off in a
request to a repository that stays away ends by itself, and its task waits for that: two that fetch
into one staging directory would spoil each other's files.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from streamer.changelog.format import Positions
from streamer.clock import Clock, SystemClock
from streamer.closable import Closable
from streamer.config import Config
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.changelog import Bounds
from streamer.layout import ApplicationLayout
from streamer.restore.bootstrap import Bootstrap, Surroundings, Wanted
from streamer.restore.choice import Rates
from streamer.restore.note import remove_old
from streamer.snapshot.opening import open_repository
from streamer.snapshot.pace import Pace
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf

__all__ = ["Bootstraps", "KafkaSurroundings", "Opening"]

CLOSE_S = 1.0


Opening = Callable[[TaskId, Path], Positions]
"""Opens the database of a task in some directory, looks at its positions, and closes it."""


class Bootstraps(Closable):
    """At most `parallel` run; further ones wait in their order."""

    def __init__(self, around: Surroundings, parallel: int) -> None:
        self._around = around
        self._parallel = parallel
        self._waiting: deque[Bootstrap] = deque()
        self._busy: dict[TaskId, Bootstrap] = {}
        self._ended: deque[Bootstrap] = deque()
        self._lock = threading.Lock()
        self._threads = 0

    def begin(self, wanted: Wanted) -> Bootstrap:
        """Begin one; returns at once. One that is cancelled is not told as ended."""
        made = Bootstrap(wanted, self._around)
        with self._lock:
            self._waiting.append(made)
            self._start_threads()
        return made

    def cancel(self, bootstrap: Bootstrap) -> None:
        """Have one stop. What it has fetched stays for the next."""
        bootstrap.cancel()
        with self._lock:
            if bootstrap in self._waiting:
                self._waiting.remove(bootstrap)

    def is_busy(self, task: TaskId) -> bool:
        """Whether a thread is still at work for a task, be it one that was cancelled."""
        with self._lock:
            return task in self._busy

    def ended(self) -> list[Bootstrap]:
        """Those that have ended since the last call, cancelled ones left out."""
        with self._lock:
            found = list(self._ended)
            self._ended.clear()
        return [one for one in found if not one.is_cancelled]

    def remove(self, path: Path) -> None:
        """Remove a directory that nobody needs any more, beside everything else."""
        threading.Thread(target=remove_old, args=(path,), name="former", daemon=True).start()

    def close(self) -> None:
        """Stop all. Nobody waits for threads that hang in a request: they touch nothing but the
        staging directories."""
        with self._lock:
            self._waiting.clear()
            busy = list(self._busy.values())
        for one in busy:
            one.cancel()

    def _start_threads(self) -> None:
        """Inside the lock."""
        ready = [one for one in self._waiting if one.wanted.task not in self._busy]
        for bootstrap in ready[: max(self._parallel - self._threads, 0)]:
            if bootstrap.wanted.task in self._busy:
                continue
            self._waiting.remove(bootstrap)
            self._busy[bootstrap.wanted.task] = bootstrap
            self._threads += 1
            name = f"bootstrap-{bootstrap.wanted.task}"
            threading.Thread(target=self._run, args=(bootstrap,), name=name, daemon=True).start()

    def _run(self, bootstrap: Bootstrap) -> None:
        try:
            bootstrap.run()
        finally:
            with self._lock:
                del self._busy[bootstrap.wanted.task]
                self._threads -= 1
                self._ended.append(bootstrap)
                self._start_threads()


class KafkaSurroundings:
    """`Surroundings` of a worker. Repositories are opened once; `pace` limits all of them."""

    def __init__(
        self,
        config: Config,
        opening: Opening,
        *,
        delete_retention_ms: int,
        clock: Clock | None = None,
        pace: Pace | None = None,
        layout: ApplicationLayout | None = None,
    ) -> None:
        self._layout = layout or ApplicationLayout()
        self._pace = pace or Pace(config.snapshot_bytes_per_second)
        self.clock: Clock = clock or SystemClock()
        self.delete_retention_ms = delete_retention_ms
        self.rates = Rates(
            records_per_s=config.bootstrap_records_per_second,
            bytes_per_s=config.bootstrap_fetch_bytes_per_second,
            gain_s=config.bootstrap_gain_ms / 1000,
        )
        self._config = config
        self._opening = opening
        self._admin_lock = threading.Lock()
        self._lock = threading.Lock()
        self._admin: Admin | None = None
        self._repositories: dict[str, Repository] = {}

    def bounds(self, places: list[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        with self._admin_lock:
            if self._admin is None:
                self._admin = Admin(self._config)
            admin = self._admin
        starts = admin.starts(places)
        ends = admin.ends(places, "read_uncommitted")
        ids = admin.topic_ids([place.topic for place in places])
        return {
            place: Bounds(starts[place], ends[place], ids.get(place.topic, "")) for place in places
        }

    def shelf(self, address: str, task: TaskId) -> tuple[Repository, Shelf]:
        with self._lock:
            if address not in self._repositories:
                self._repositories[address] = open_repository(
                    self._config, address, pace=self._pace
                )
            repository = self._repositories[address]
        layout = self._layout.since(task.subtopology)
        return repository, repository.shelf(self._config.application_id, task, layout)

    def positions(self, task: TaskId, directory: Path) -> Positions:
        return self._opening(task, directory)

    def close(self) -> None:
        """Let go of the repositories' connections; not where one is being asked for that is away:
        the process ends, and need not wait for as long as a fetch would."""
        if not self._lock.acquire(timeout=CLOSE_S):
            return
        repositories = list(self._repositories.values())
        self._repositories.clear()
        self._lock.release()
        for repository in repositories:
            repository.close()
