"""The restore of one task: which offsets are still to come, and rows on their way to the disk.

    WAITING -> READING -> DONE
       |          |-----> FAILED
       +----------+-----> CANCELLED

Rows are written before or together with the position after them, so a restore may be cut anywhere
and goes on there. Where much is to come, rows are gathered, newest per key, and added as files.
Nothing is ever wiped: a position that does not fit its changelog is an error for a human; for the
worker, where all that is wrong is its age, and the changelog has everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from streamer import failpoints, metrics
from streamer.changelog.format import PASSED, Positions, check_rows
from streamer.errors import StateOutdatedError, StreamerError, TaskCorruptedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds, Records
from streamer.restore.progress import Rate, RestoreProgress
from streamer.store.rocks import TaskDatabase

__all__ = ["RestoreState", "StoreRestore", "TaskRestore"]

# With fewer offsets to come, gathering rows and making files of them does not pay.
BULK_OFFSETS_MIN = 50_000
BULK_ROWS_MIN = 10_000
# A gathered row costs this beside its bytes: two objects and a slot of a dictionary.
_ROW_BYTES = 170


class RestoreState(Enum):
    WAITING = "waiting"
    READING = "reading"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class StoreRestore:
    """One store: `position` is next to read, `saved` is what the database has; `end` exclusive."""

    store: str
    place: TopicPartition
    position: int
    end: int
    saved: int
    is_bulk: bool
    topic_id: str = ""
    rows: dict[bytes, bytes | None] = field(default_factory=dict)
    gathered_bytes: int = 0

    @property
    def remaining_offsets(self) -> int:
        return max(self.end - self.position, 0)

    @property
    def memory_bytes(self) -> int:
        """Of the gathered rows, or more: rows that replaced others count until `recount`."""
        return self.gathered_bytes + _ROW_BYTES * len(self.rows)

    def recount(self) -> int:
        """The memory of the gathered rows, exactly."""
        self.gathered_bytes = _size_bytes(self.rows.keys(), self.rows.values())
        return self.memory_bytes


class TaskRestore:
    """Used by the restoring thread; others may read `progress`."""

    def __init__(
        self, task: TaskId, database: TaskDatabase, changelogs: Mapping[str, TopicPartition]
    ) -> None:
        self.task = task
        self.database = database
        self.changelogs = changelogs
        self.state = RestoreState.WAITING
        self.error: StreamerError | None = None
        self.stores: dict[TopicPartition, StoreRestore] = {}
        self._began_ms = 0
        self._as_of_ms = -1
        self._passed_inputs: dict[TopicPartition, int] = {}
        self._offsets = 0
        self._records = 0
        self._bytes = 0
        self._rate = Rate(0)

    def progress(self) -> RestoreProgress:
        stores = list(self.stores.values())
        is_known = self.state is RestoreState.DONE or bool(stores)
        left = sum(one.remaining_offsets for one in stores) if is_known else -1
        return RestoreProgress(
            restored_records=self._records,
            remaining_offsets=left,
            restored_bytes=self._bytes,
            records_per_second=self._rate.records_per_second,
            eta_s=self._rate.eta_s(left),
        )

    def begin(
        self,
        bounds: Mapping[TopicPartition, Bounds],
        *,
        now_ms: int,
        delete_retention_ms: int,
    ) -> dict[TopicPartition, int]:
        """Where to begin to read each changelog that has something to read.

        Raises TaskCorruptedError when a stored position cannot be continued from, and
        StateOutdatedError where an empty database in its place would be restored as a whole.
        """
        stored = Positions.decode(self.database.metadata())
        stores: dict[TopicPartition, StoreRestore] = {}
        for store, place in self.changelogs.items():
            position, end = max(stored.changelogs.get(store, 0), 0), bounds[place].end
            check_position(self.database, place, position=position, bounds=bounds[place])
            topic_id = bounds[place].topic_id
            if position:
                self._check_topic(place, stored.topic_ids.get(store, ""), topic_id)
            is_bulk = end - position >= BULK_OFFSETS_MIN
            stores[place] = StoreRestore(store, place, position, end, position, is_bulk, topic_id)
        # Last: where anything else is wrong, a new database would not be right either.
        self._check_age(stores.values(), bounds, stored.as_of_ms, now_ms - delete_retention_ms)
        self._began_ms = now_ms
        self._rate = Rate(now_ms)
        # A row that is there now can only be removed by a tombstone that comes after now.
        self._as_of_ms = now_ms if stored.as_of_ms < 0 else stored.as_of_ms
        # What another worker committed moves the state on: it is not at these positions any more.
        self._passed_inputs = dict.fromkeys(stored.inputs, PASSED)
        self.stores = stores
        self.state = RestoreState.READING
        return {place: one.position for place, one in stores.items() if one.remaining_offsets}

    def _check_topic(self, place: TopicPartition, stored_id: str, topic_id: str) -> None:
        """Made anew and written since, a topic may be longer than the position in the old one."""
        if stored_id and topic_id and stored_id != topic_id:
            raise TaskCorruptedError(
                f"the state in {self.database.directory} is of another topic than the changelog "
                f"{place} of today: its id was {stored_id} and is {topic_id}",
                hint="the topic was deleted and made anew, or this is another cluster; if the "
                "topic is right, move the directory away and start again, else bring the old one "
                "back. Nothing was changed",
            )

    def _check_age(
        self,
        stores: Iterable[StoreRestore],
        bounds: Mapping[TopicPartition, Bounds],
        as_of_ms: int,
        oldest_ms: int,
    ) -> None:
        behind = [one.place for one in stores if 0 < one.position < one.end]
        if not behind or not 0 <= as_of_ms < oldest_ms:
            return
        days = (oldest_ms - as_of_ms) / 86_400_000
        message = (
            f"the state of task {self.task} is {days:.1f} days too old to be continued from "
            f"{behind[0]}: rows removed since may have left the changelog, and would come back"
        )
        cut = [place for place in self.changelogs.values() if bounds[place].start > 0]
        if cut:
            raise TaskCorruptedError(
                message,
                hint=f"nor can it be restored as a whole: {cut[0]} begins at "
                f"{bounds[cut[0]].start}. Put a newer copy of the state in "
                f"{self.database.directory}. Nothing was changed",
            )
        raise StateOutdatedError(
            message,
            hint=f"move {self.database.directory} away and start again: the task is then "
            "restored as a whole (delete.retention.ms of the changelog says how old it may be)",
        )

    def add(self, records: Records, now_ms: int) -> None:
        """Take records in; they reach the disk with the next `save`."""
        one = self.stores[records.place]
        keys, values, offsets = records.keys, records.values, records.offsets
        if offsets[0] < one.position:
            # Fetched before a restore was cancelled and begun again.
            fresh = [index for index, offset in enumerate(offsets) if offset >= one.position]
            keys, values = [keys[i] for i in fresh], [values[i] for i in fresh]
            if not keys:
                return
        one.rows.update(zip(keys, values, strict=True))
        size_bytes = _size_bytes(keys, values)
        one.gathered_bytes += size_bytes
        self._bytes += size_bytes
        self._records += len(keys)
        self._advance(one, records.position, now_ms)
        labels = (str(self.task), one.store)
        metrics.restore_records.labels(*labels).inc(len(keys))
        metrics.restore_bytes.labels(*labels).inc(size_bytes)

    def reach(self, place: TopicPartition, position: int, now_ms: int) -> None:
        """The reader stands at `position`: what lies before it are markers and aborted records."""
        one = self.stores[place]
        if position > one.position:
            self._advance(one, position, now_ms)

    def _advance(self, one: StoreRestore, position: int, now_ms: int) -> None:
        self._offsets += position - one.position
        one.position = position
        self._rate.add(now_ms, records=self._records, offsets=self._offsets)
        metrics.restore_remaining_records.labels(str(self.task), one.store).set(
            one.remaining_offsets
        )

    @property
    def is_complete(self) -> bool:
        return all(one.remaining_offsets == 0 for one in self.stores.values())

    def save(self, one: StoreRestore) -> None:
        """Write what was gathered, and the position after it."""
        if one.position == one.saved and not one.rows:
            return
        failpoints.hit("restore.before_batch")
        check_rows(one.place, self.database.specs[one.store].kind, one.rows.values())
        position = Positions(
            changelogs={one.store: one.position},
            inputs=self._passed_inputs if one.rows else {},
            as_of_ms=self._as_of_ms,
            topic_ids={one.store: one.topic_id} if one.topic_id else {},
        ).encode()
        if one.is_bulk and len(one.rows) >= BULK_ROWS_MIN:
            self.database.ingest(one.store, one.rows)
            self.database.write({}, position)
        else:
            self.database.write({one.store: list(one.rows.items())}, position)
        one.saved, one.rows, one.gathered_bytes = one.position, {}, 0
        failpoints.hit("restore.after_batch")

    def complete(self) -> None:
        """Everything was read: save it, and that the state was current when the restore began."""
        for one in self.stores.values():
            self.save(one)
        ids = {one.store: one.topic_id for one in self.stores.values() if one.topic_id}
        self.database.write({}, Positions(as_of_ms=self._began_ms, topic_ids=ids).encode())
        failpoints.hit("restore.before_ready")
        self.state = RestoreState.DONE

    def cancel(self) -> None:
        """Stop at a batch boundary; the state stays, and a later restore goes on from it."""
        if self.state is RestoreState.READING:
            for one in self.stores.values():
                self.save(one)
        self.state = RestoreState.CANCELLED

    def fail(self, error: StreamerError) -> None:
        self.state = RestoreState.FAILED
        self.error = error


def _size_bytes(keys: Iterable[bytes], rows: Iterable[bytes | None]) -> int:
    return sum(map(len, keys)) + sum(map(len, filter(None, rows)))


def check_position(
    database: TaskDatabase, place: TopicPartition, *, position: int, bounds: Bounds
) -> None:
    """Raise TaskCorruptedError unless a changelog can be read on from a stored position."""
    directory = database.directory
    if position > bounds.end:
        raise TaskCorruptedError(
            f"the state in {directory} stands at position {position} of changelog {place}, "
            f"but the changelog ends at {bounds.end}",
            hint="the topic was deleted and made anew, or lost records in an unclean leader "
            "election; if the topic is right, move the directory away and start again, else bring "
            "the topic back. Nothing was changed",
        )
    if position < bounds.start:
        held = f"stands at position {position}" if position else "is empty"
        raise TaskCorruptedError(
            f"the state in {directory} {held}, but changelog {place} begins at {bounds.start}: "
            "the records between were deleted",
            hint="put a snapshot in its place that reaches the changelog's begin. Nothing was "
            "changed",
        )
