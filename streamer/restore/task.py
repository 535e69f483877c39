"""The restore of one task, or its copy that follows: what is still to come, and what is saved.

    WAITING -> READING -> DONE                         a restore
       |          |-----> FAILED
       +----------+-----> CANCELLED

    WAITING -> READING -> FOLLOWING (-> READING -> DONE)      a standby (promoted)

Either aims at the ends of its changelogs as they were at some time. A restore that has arrived is
done. A standby reads on, and aims anew about once a minute: each time it arrives, its state is
known to have been current when it aimed, which keeps it from growing too old to be continued
(decision 0010). A promotion aims for the last time, and from then on is a restore.

Rows are written before or together with the position after them, so all of it may be cut anywhere
and goes on there. Where much is to come, rows are gathered, newest per key, and added as files.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from streamer import failpoints, metrics
from streamer.changelog.format import PASSED, Positions, check_rows
from streamer.errors import StreamerError, TaskCorruptedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds, Records
from streamer.restore.checks import check_place, outdated
from streamer.restore.progress import RestoreProgress, Tally
from streamer.restore.store import StoreRestore
from streamer.store.rocks import TaskDatabase

__all__ = ["RestoreState", "TaskRestore", "Times"]

_DAY_MS = 86_400_000


class Times(NamedTuple):
    """When ends were asked for, by the wall clock and by the monotonic one, and how old a state may
    be that is continued."""

    now_ms: int
    asked_ms: int
    oldest_ms: int


class RestoreState(Enum):
    WAITING = "waiting"
    READING = "reading"
    FOLLOWING = "following"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskRestore:
    """Used by the restoring thread; others may read `progress` and `lag`, and set `is_asked_for`:
    the copy is to be promoted, and counts from now on."""

    def __init__(
        self,
        task: TaskId,
        database: TaskDatabase,
        changelogs: Mapping[str, TopicPartition],
        *,
        is_standby: bool = False,
        label: str = "",
    ) -> None:
        """`label` is what metrics and the log call it, where that is not the task."""
        self.task = task
        self.label = label or str(task)
        self.database = database
        self.changelogs = changelogs
        self.is_standby = is_standby
        self.is_asked_for = False
        self.state = RestoreState.WAITING
        self.error: StreamerError | None = None
        self.stores: dict[TopicPartition, StoreRestore] = {}
        self.as_of_ms = -1
        self._aimed_ms: int | None = None
        self._passed_inputs: dict[TopicPartition, int] = {}
        self._tally = Tally()

    # -- what others want to know --------------------------------------------------------------

    def progress(self) -> RestoreProgress:
        if self.is_asked_for:
            return RestoreProgress()
        stores, follows = list(self.stores.values()), self.state is RestoreState.FOLLOWING
        left = sum(one.lag if follows else one.remaining_offsets for one in stores)
        if not stores and self.state is not RestoreState.DONE:
            left = -1
        return self._tally.progress(left)

    def lag(self) -> int | None:
        """Offsets yet to read up to the latest ends that were heard of; None before any was, and
        for what has failed or was cancelled."""
        stores = self._reading()
        return sum(one.lag for one in stores) if stores else None

    def is_current(self, now_ms: int) -> bool:
        """Whether a copy has read all that was committed, a moment ago at the latest."""
        stores = self._reading()
        return bool(stores) and all(one.is_current(now_ms) for one in stores)

    def age_ms(self, now_ms: int) -> int | None:
        """How long ago, at most, the lag was as it is told; None before any is known."""
        heard = [one.heard_ms for one in self._reading() if one.heard_ms is not None]
        return max(now_ms - min(heard), 0) if heard else None

    def durable(self) -> dict[str, int]:
        """By store, the position that is on the disk; nothing before any is known."""
        return {one.store: one.saved for one in list(self.stores.values())}

    def _reading(self) -> list[StoreRestore]:
        is_over = self.state in (RestoreState.FAILED, RestoreState.CANCELLED)
        return [] if is_over else list(self.stores.values())

    # -- reading -------------------------------------------------------------------------------

    def begin(
        self,
        bounds: Mapping[TopicPartition, Bounds],
        times: Times,
    ) -> dict[TopicPartition, int]:
        """Where to begin to read each changelog that has something to read; a standby: each.

        Raises TaskCorruptedError when a stored position cannot be continued from, and
        StateOutdatedError where an empty database in its place would be restored as a whole.
        """
        stored = Positions.decode(self.database.metadata())
        stores: dict[TopicPartition, StoreRestore] = {}
        for store, place in self.changelogs.items():
            at = max(stored.changelogs.get(store, 0), 0)
            stores[place] = StoreRestore(store, place, at, at, stored.topic_ids.get(store, ""))
        self.as_of_ms = stored.as_of_ms
        self._aim(stores, bounds, times)
        # A row that is there now can only be removed by a tombstone that comes after now.
        self.as_of_ms = times.now_ms if stored.as_of_ms < 0 else stored.as_of_ms
        # What another worker committed moves the state on: it is not at these positions any more.
        self._passed_inputs = dict.fromkeys(stored.inputs, PASSED)
        self.stores = stores
        self.state = RestoreState.READING
        return self.to_read()

    def to_read(self) -> dict[TopicPartition, int]:
        return {
            place: one.position
            for place, one in self.stores.items()
            if self.is_standby or one.remaining_offsets
        }

    def aim(self, bounds: Mapping[TopicPartition, Bounds], times: Times) -> None:
        """Take the ends as they were at these times or later. Raises what `begin` raises."""
        self._aim(self.stores, bounds, times)

    def _aim(
        self,
        stores: Mapping[TopicPartition, StoreRestore],
        bounds: Mapping[TopicPartition, Bounds],
        times: Times,
    ) -> None:
        for place, one in stores.items():
            check_place(self.database.directory, one, bounds[place])
        for place, one in stores.items():
            one.aim(bounds[place], times.asked_ms)
        # Last: where anything else is wrong, a new database would not be right either.
        behind = [one for one in stores.values() if 0 < one.saved < one.end]
        if behind and 0 <= self.as_of_ms < times.oldest_ms:
            raise self._outdated(stores, behind[0].place, times.oldest_ms)
        self._aimed_ms = times.now_ms
        if not self.is_standby:
            self.is_asked_for = False

    def is_outdated(self, oldest_ms: int) -> bool:
        """Whether a copy has not been current for so long that it may not take in anything more;
        as when its worker was cut off from the brokers, or asleep."""
        if self.as_of_ms >= oldest_ms:
            return False
        is_promoted = self.state is RestoreState.READING and self._aimed_ms is None
        return is_promoted or self.state is RestoreState.FOLLOWING

    def check_age(self, place: TopicPartition, oldest_ms: int) -> None:
        """Raise where records of `place` came too late."""
        if self.is_outdated(oldest_ms):
            raise self._outdated(self.stores, place, oldest_ms)

    def _outdated(
        self, stores: Mapping[TopicPartition, StoreRestore], behind: TopicPartition, oldest_ms: int
    ) -> TaskCorruptedError:
        return outdated(
            f"the state of task {self.task}",
            self.database.directory,
            behind,
            days=(oldest_ms - self.as_of_ms) / _DAY_MS,
            cut=[one for one in stores.values() if one.start > 0],
        )

    def promote(self) -> None:
        """Be a restore from now on, once it is aimed at the ends as they are now."""
        self.is_standby = False
        self.state = RestoreState.READING if self.stores else RestoreState.WAITING
        self._aimed_ms = None
        self._tally = Tally()

    def add(self, records: Records, now_ms: int) -> None:
        """Take records in; they reach the disk with the next `save`."""
        one = self.stores[records.place]
        count, size_bytes = one.gather(records)
        if not count:
            return
        self._tally.add(count, size_bytes)
        self._advance(one, records.position, now_ms)
        labels = (self.label, one.store)
        metrics.restore_records.labels(*labels).inc(count)
        metrics.restore_bytes.labels(*labels).inc(size_bytes)

    def reach(self, place: TopicPartition, position: int, now_ms: int) -> None:
        """The reader stands at `position`: what lies before it are markers and aborted records."""
        one = self.stores[place]
        one.reach(now_ms)
        if position > one.position:
            self._advance(one, position, now_ms)

    def _advance(self, one: StoreRestore, position: int, now_ms: int) -> None:
        follows = self.state is RestoreState.FOLLOWING
        self._tally.advance(position - one.position, now_ms, is_rated=not follows)
        one.position = position
        if follows:
            return
        metrics.restore_remaining_records.labels(self.label, one.store).set(one.remaining_offsets)

    @property
    def is_complete(self) -> bool:
        return all(one.remaining_offsets == 0 for one in self.stores.values())

    @property
    def has_arrived(self) -> bool:
        """Whether it stands at the ends that it was aimed at, and has not been told so yet."""
        return self._aimed_ms is not None and self.is_complete

    # -- saving --------------------------------------------------------------------------------

    def save(self, *stores: StoreRestore) -> bool:
        """Write what was gathered, and the positions after it, in one go; whether there was any."""
        changed = [one for one in stores if one.rows or one.position != one.saved]
        if not changed:
            return False
        failpoints.hit("restore.before_batch")
        for one in changed:
            check_rows(one.place, self.database.specs[one.store].kind, one.rows.values())
        positions = Positions(
            changelogs={one.store: one.position for one in changed},
            inputs=self._passed_inputs if any(one.rows for one in changed) else {},
            as_of_ms=self.as_of_ms,
            topic_ids={one.store: one.topic_id for one in changed if one.topic_id},
        ).encode()
        loaded = [one for one in changed if one.is_loaded]
        for one in loaded:
            self.database.ingest(one.store, one.rows)
        rows = {one.store: list(one.rows.items()) for one in changed if one not in loaded}
        self.database.write(rows, positions)
        for one in changed:
            one.written()
        failpoints.hit("restore.after_batch")
        return True

    def flush(self) -> None:
        """Write what a standby has gathered; not where much is still to come."""
        self.save(*(one for one in self.stores.values() if one.rows and not one.is_bulk))

    def settle(self) -> None:
        """A standby has arrived: save that with the time at which it aimed, and follow on."""
        assert self._aimed_ms is not None
        # In one batch: no store may stand elsewhere than where this time is true of it.
        self.as_of_ms, self._aimed_ms = self._aimed_ms, None
        if not self.save(*self.stores.values()):
            self.database.write({}, Positions(as_of_ms=self.as_of_ms).encode())
        for one in self.stores.values():
            one.is_bulk = False
        self._tally.settle()
        self.state = RestoreState.FOLLOWING

    def complete(self) -> None:
        """Everything was read: save it, and that the state was current when the restore began."""
        assert self._aimed_ms is not None
        self.save(*self.stores.values())
        ids = {one.store: one.topic_id for one in self.stores.values() if one.topic_id}
        self.database.write({}, Positions(as_of_ms=self._aimed_ms, topic_ids=ids).encode())
        failpoints.hit("restore.before_ready")
        self.state = RestoreState.DONE

    def cancel(self) -> None:
        """Stop at a batch boundary; the state stays, and a later restore goes on from it."""
        if self.state in (RestoreState.READING, RestoreState.FOLLOWING):
            self.save(*self.stores.values())
        self.state = RestoreState.CANCELLED

    def fail(self, error: StreamerError) -> None:
        self.state = RestoreState.FAILED
        self.error = error
