"""Gauges that need not be exact to the millisecond: read from outside the loop, now and then."""

from __future__ import annotations

from collections.abc import Mapping

from streamer import metrics
from streamer.config import Budget
from streamer.errors import StreamerError
from streamer.store.pool import MemoryPool
from streamer.task.active import ActiveTask
from streamer.task.lifecycle import TaskState
from streamer.worker.tasks import TaskSet

__all__ = ["Gauges", "show_budget"]

# RocksDB adds its figures up over the families of each task, which is work: once in ten looks.
_LOOKS_PER_ROCKSDB = 10
_BYTES = {
    "live_files": "live_files_bytes",
    "all_files": "all_files_bytes",
    "memtables": "memtable_bytes",
    "table_readers": "table_reader_bytes",
    "pending_compaction": "pending_compaction_bytes",
}


def show_budget(parts: Budget) -> None:
    """How the memory is divided."""
    for name, size_bytes in parts._asdict().items():
        metrics.memory_budget_bytes.labels(name.removesuffix("_bytes")).set(size_bytes)


class Gauges:
    """The gauges of the tasks of one worker. Used by one thread, which is not the loop's."""

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._looks = 0

    def measure(self) -> None:
        """Look once."""
        has_rocksdb = self._looks % _LOOKS_PER_ROCKSDB == 0
        self._looks += 1
        for active in self._tasks.all:
            try:
                _show_task(active)
                if has_rocksdb:
                    _show_rocksdb(str(active.task), active.database.gauges())
            except StreamerError:
                continue  # Closed meanwhile: its gauges go with it.
        _show_pool(self._tasks.pool)


def _show_task(active: ActiveTask) -> None:
    task = str(active.task)
    rows = {store: active.database.approximate_rows(store) for store in active.changelogs}
    for store, count in rows.items():
        metrics.store_keys.labels(task, store).set(count)
    if active.committed_time_ms >= 0:
        metrics.stream_time_seconds.labels(task).set(active.committed_time_ms / 1000)
    if active.state is TaskState.RUNNING:
        metrics.cache_keys.labels(task).set(active.pipeline.touched)


def _show_rocksdb(task: str, found: Mapping[str, int]) -> None:
    for part, name in _BYTES.items():
        metrics.rocksdb_bytes.labels(task, part).set(found[name])
    metrics.rocksdb_level0_files.labels(task).set(found["level0_files"])
    metrics.rocksdb_writes_stopped.labels(task).set(found["writes_stopped"])
    metrics.rocksdb_background_errors.labels(task).set(found["background_errors"])


def _show_pool(pool: MemoryPool) -> None:
    found = pool.gauges()
    for part in ("block_cache", "block_cache_pinned", "write_buffer", "capacity"):
        metrics.rocksdb_memory_bytes.labels(part).set(found[f"{part}_bytes"])
