"""Restores in the driver: the product's restore over the changelogs of the in-memory broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamer.changelog.topics import changelog_settings
from streamer.clock import Clock
from streamer.config import Config
from streamer.errors import InvariantError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds, Fetched, Records
from streamer.kafka.fake import FakeBroker
from streamer.restore.loop import RestoreLoop
from streamer.restore.task import TaskRestore
from streamer.store.rocks import TaskDatabase

__all__ = ["restore"]

# So few that nothing waits for memory, so many that it never matters.
_GATHERED_BYTES_MAX = 1 << 24


class _Changelogs:
    """What `ChangelogConsumer` does, over the in-memory broker."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._reader = broker.reader("restore")

    def bounds(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, Bounds]:
        return {place: Bounds(*self._broker.bounds(place)) for place in places}

    def add(self, positions: Mapping[TopicPartition, int]) -> None:
        self._reader.add(positions)

    def remove(self, places: Iterable[TopicPartition]) -> None:
        self._reader.remove(places)

    def fetch(self, records_max: int, timeout_ms: int) -> Fetched:
        read = self._reader.fetch(records_max, timeout_ms)
        records = [
            Records(batch.place, list(batch.keys), list(batch.values), list(batch.offsets))
            for batch in read.batches
        ]
        return Fetched(records, dict(read.ends), set(read.failures))

    def close(self) -> None:
        self._reader.close()


def restore(
    task: TaskId,
    database: TaskDatabase,
    changelogs: Mapping[str, TopicPartition],
    *,
    broker: FakeBroker,
    config: Config,
    clock: Clock,
) -> int:
    """Bring a database to the ends of its changelogs; returns how many records that took.

    Raises what the restore of a worker fails with.
    """
    reader: Any = _Changelogs(broker)
    retention_ms = int(changelog_settings(config)["delete.retention.ms"])
    loop = RestoreLoop(reader, lambda _ended: None, clock=clock, delete_retention_ms=retention_ms)
    one = TaskRestore(task, database, changelogs)
    loop.add(one)
    while not loop.is_idle:
        fetched = loop.fetch()
        loop.apply(fetched, _GATHERED_BYTES_MAX)
        if fetched == Fetched() and not loop.is_idle:
            raise InvariantError(f"the restore of task {task} waits for records that never come")
    if one.error is not None:
        raise one.error
    return one.progress().restored_records
