"""Rows that wait in memory to be written, of all tasks together."""

from __future__ import annotations

from collections.abc import Iterator

from streamer.ids import TaskId, TopicPartition
from streamer.restore.store import StoreRestore
from streamer.restore.task import TaskRestore

__all__ = ["FLUSH_MS", "Gathered"]

# How long rows of a standby wait for others, to be written together.
FLUSH_MS = 750
# No more of standbys than is written in a few tenths of a second: a promotion may come meanwhile.
STANDBY_BYTES_MAX = 16 << 20

_Pair = tuple[TaskRestore, StoreRestore]


class Gathered:
    """Counts the stores that have such rows, and no others."""

    def __init__(self) -> None:
        self._stores: dict[TopicPartition, _Pair] = {}
        # When standbys are to be written. All wait for as long, so the first is due first.
        self._due: dict[TaskId, tuple[int, TaskRestore]] = {}

    def add(self, restore: TaskRestore, one: StoreRestore, now_ms: int) -> None:
        self._stores[one.place] = restore, one
        if restore.is_standby and not one.is_bulk:
            self._due.setdefault(restore.task, (now_ms + FLUSH_MS, restore))

    def forget(self, restore: TaskRestore) -> None:
        self.is_flushed(restore)
        for place in restore.stores:
            self._stores.pop(place, None)

    def is_flushed(self, restore: TaskRestore) -> None:
        self._due.pop(restore.task, None)

    def to_flush(self, now_ms: int) -> Iterator[TaskRestore]:
        """Standbys whose rows have waited for long enough."""
        while self._due:
            due_ms, restore = next(iter(self._due.values()))
            if due_ms > now_ms:
                return
            self.is_flushed(restore)
            yield restore

    def to_save(self, bytes_max: int) -> Iterator[_Pair]:
        """Where there is more than that, the stores to write until there is half of it: the
        largest, but first those of standbys, which nobody waits for."""
        self._stores = {place: pair for place, pair in self._stores.items() if pair[1].rows}
        standbys = [pair for pair in self._stores.values() if pair[0].is_standby]
        yield from _largest(standbys, min(bytes_max, STANDBY_BYTES_MAX))
        yield from _largest(list(self._stores.values()), bytes_max)


def _largest(gathered: list[_Pair], bytes_max: int) -> Iterator[_Pair]:
    if sum(one.memory_bytes for _restore, one in gathered) <= bytes_max:
        return
    # Most of a changelog replaces earlier rows, so count what is really there before writing.
    total = sum(one.recount() for _restore, one in gathered)
    if total <= bytes_max * 3 // 4:
        return
    gathered.sort(key=lambda pair: (not pair[0].is_standby, -pair[1].memory_bytes))
    for restore, one in gathered:
        total -= one.memory_bytes
        yield restore, one
        if total <= bytes_max // 2:
            return
