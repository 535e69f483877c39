"""A worker that makes snapshots of running tasks: real databases, a repository in a directory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamer import metrics
from streamer.changelog.format import Positions
from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.messages import ChoreReport
from streamer.control.orders import Order, SnapshotOrder
from streamer.ids import TaskId, TopicPartition
from streamer.snapshot.apart import Make
from streamer.snapshot.apart_process import make
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.opening import open_repository
from streamer.snapshot.shelf import Shelf
from streamer.store.directory import WorkerDirectory
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store
from streamer.worker.snapshots import Snapshots

TOTALS = Store("totals", str, int).spec()
Rows = dict[bytes, bytes | None]


class Task:
    """A task that runs: what the snapshots need of an `ActiveTask`."""

    def __init__(self, host: Host, number: int, *, stores: bool = True) -> None:
        self.task = TaskId(0, number)
        self.changelogs = {"totals": TopicPartition("app-totals-changelog", number)}
        self.changelogs = self.changelogs if stores else {}
        self.committed = {TopicPartition("in", number): 0}
        self.refresh_positions = False
        self.commits = 0
        self.database = TaskDatabase.open(
            host.directory.task(self.task),
            [TOTALS] if stores else [],
            pool=host.pool,
            options={"disable_auto_compactions": True},
        )

    def commit(self, rows: Rows | None = None, *, records: int = 0) -> None:
        """Rows and positions in one batch, as a commit does."""
        self.commits += 1
        place = next(iter(self.committed))
        self.committed[place] += records
        stored = Positions(
            changelogs={store: 10 * self.commits for store in self.changelogs},
            inputs=self.committed,
            topic_ids=dict.fromkeys(self.changelogs, "topic-id"),
        )
        changes = {"totals": list((rows or {}).items())} if self.changelogs else {}
        self.database.write(changes, stored.encode())
        self.refresh_positions = False


class Host:
    """A worker's directory, its tasks, and a repository beside it."""

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        # In this process, so that failpoints can call what a test gives them.
        self.make: Make = make
        self.place = tmp_path / "repository"
        given: dict[str, Any] = {
            "application_id": "app",
            "snapshot_repository": f"file://{self.place}",
            "snapshot_patience_ms": 0,
            # Who stands behind all others may wait for ever where tests use the whole machine.
            "snapshot_niceness": 0,
            **settings,
        }
        self.config = Config(**given)
        self.clock = ManualClock(1_700_000_000_000)
        self.directory = WorkerDirectory.open(tmp_path / "state", "app", worker_id="w1")
        self.pool = MemoryPool(16 << 20, 16 << 20)
        self.running: list[Task] = []
        self.orders: tuple[Order, ...] = ()
        self.news: list[dict[str, str]] = []
        self.snapshots = self.begin()

    def begin(self) -> Snapshots:
        """As a process that starts does."""
        tasks: Any = self
        self.snapshots = Snapshots(
            self.config,
            tasks,
            lambda: self.orders,
            directory=self.directory,
            clock=self.clock,
            make=self.make,
        )
        self.snapshots.start()
        return self.snapshots

    def task(self, number: int, *, stores: bool = True) -> Task:
        made = Task(self, number, stores=stores)
        self.running.append(made)
        return made

    def order(self, operation: str = "op", *tasks: str) -> None:
        self.orders = (SnapshotOrder(format=1, operation=operation, tasks=tasks),)

    def turn(self) -> None:
        """One turn of the loop: what asks for a commit gets one."""
        for each in self.running:
            if each.refresh_positions:
                each.commit()
        self.clock.advance(25)
        if self.snapshots.turn():
            chores = self.snapshots.chores
            self.news.append({str(task): chore.state for task, chore in chores.items()})

    def until(self, is_true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 240
        while not is_true():
            assert time.monotonic() < deadline, (self.news, self.snapshots.chores)
            self.turn()
            time.sleep(0.001)

    def chore(self, task: TaskId) -> ChoreReport | None:
        return self.snapshots.chores.get(task)

    def is_done(self, *tasks: Task) -> bool:
        found = [self.chore(each.task) for each in tasks]
        return all(chore is not None and chore.state == "done" for chore in found)

    def shelf(self, task: TaskId) -> Shelf:
        return open_repository(self.config).shelf("app", task)

    def manifests(self, task: Task) -> list[Manifest]:
        return self.shelf(task.task).manifests()

    def close(self) -> None:
        self.snapshots.close()
        for each in self.running:
            each.database.close()
            metrics.forget_task(each.task)
        self.directory.close()


def rows(count: int, seed: int = 0, size: int = 100) -> Rows:
    numbers = random.Random(seed)
    return {f"key-{number:08d}".encode(): numbers.randbytes(size) for number in range(count)}


def counted(name: str, task: Task) -> float:
    return metrics.REGISTRY.get_sample_value(name, {"task": str(task.task)}) or 0.0
