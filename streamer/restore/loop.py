"""What the restoring thread does: fetch, hand out, save, finish. All of it in that one thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Set
from functools import partial

from streamer.clock import Clock
from streamer.errors import KafkaUnavailableError, StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import ChangelogConsumer, Fetched, Records
from streamer.log import task_context
from streamer.restore.asking import Answer, Asking
from streamer.restore.checks import check_place
from streamer.restore.gathered import Gathered
from streamer.restore.readers import FETCH_MS, Readers
from streamer.restore.task import RestoreState, TaskRestore, Times

__all__ = ["RestoreLoop"]

_log = logging.getLogger(__name__)

# How often standbys learn that they are current, and how often what their lag is.
AIM_MS = 60_000
LOOK_MS = 1_000


class RestoreLoop:
    """`on_end` is told of each restore that is done, and of whatever has failed.

    A turn costs what it has fetched and what is due, not what is followed: only the questions of
    each minute, and the ends of each second, are of all standbys.
    """

    def __init__(
        self,
        consumer: ChangelogConsumer,
        on_end: Callable[[TaskRestore], None],
        *,
        clock: Clock,
        delete_retention_ms: int,
    ) -> None:
        self._consumer = consumer
        self._readers = Readers(consumer)
        self._asking = Asking(consumer, clock)
        self._on_end = on_end
        self._clock = clock
        self._delete_retention_ms = delete_retention_ms
        self._restores: dict[TaskId, TaskRestore] = {}
        self._by_place: dict[TopicPartition, TaskRestore] = {}
        self._gathered = Gathered()
        self._moved: dict[TaskId, TaskRestore] = {}
        self._aim_every_ms = min(AIM_MS, delete_retention_ms // 4)
        self._aim_ms = clock.monotonic_ms() + self._aim_every_ms
        self._look_ms = 0

    @property
    def is_idle(self) -> bool:
        return not self._restores

    @property
    def tasks(self) -> Set[TaskId]:
        return self._restores.keys()

    def add(self, restore: TaskRestore) -> None:
        self._restores[restore.task] = restore
        self._asking.add(restore)

    def follow(self, restore: TaskRestore, consumer: ChangelogConsumer) -> None:
        """`consumer` reads for all that follow."""
        self._readers.have_second(consumer)
        self.add(restore)

    def promote(self, restore: TaskRestore) -> None:
        """Nothing happens when it has ended, or is a restore already."""
        if self._restores.get(restore.task) is restore and restore.is_standby:
            self._asking.discard(restore.task)
            self._gathered.is_flushed(restore)
            restore.promote()
            self._asking.add(restore)

    def cancel(self, restore: TaskRestore) -> None:
        """Save what the restore has and forget it; nothing happens when it has ended."""
        if self._restores.get(restore.task) is not restore:
            return
        self._forget(restore)
        with task_context(restore.label):
            try:
                restore.cancel()
            except StreamerError as error:
                # It goes on from what was saved before: nothing is lost but time.
                _log.warning("task %s: restore cut short: %s", restore.label, error)

    def fetch(self) -> Fetched:
        """What the changelogs bring next, after at most a moment."""
        self._aim_standbys()
        self._aim()
        # Who has nothing to read is at the end already.
        fetched = self._readers.fetch(0 if self._moved else FETCH_MS)
        self._look()
        return fetched

    def apply(self, fetched: Fetched, gathered_bytes_max: int) -> None:
        """Take it in, keep what is gathered within its memory, and end what is complete."""
        self._take(fetched)
        for restore, one in self._gathered.to_save(gathered_bytes_max):
            if self._restores.get(restore.task) is restore:
                self._attempt(restore, partial(restore.save, one))
        for restore in self._gathered.to_flush(self._clock.monotonic_ms()):
            self._attempt(restore, restore.flush)
        moved, self._moved = self._moved, {}
        for restore in moved.values():
            if restore.has_arrived and self._restores.get(restore.task) is restore:
                self._arrive(restore)

    def _arrive(self, restore: TaskRestore) -> None:
        if restore.is_standby:
            if restore.state is RestoreState.READING:
                _log.info("task %s: the standby is at the end and follows", restore.label)
            self._gathered.is_flushed(restore)
            self._attempt(restore, restore.settle)
        else:
            self._attempt(restore, restore.complete)
            self._end(restore)

    # -- ends ----------------------------------------------------------------------------------

    def _aim_standbys(self) -> None:
        """Once in a while, find out whether those that follow are current, all together."""
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._aim_ms:
            return
        self._aim_ms = now_ms + self._aim_every_ms
        for restore in self._restores.values():
            if restore.state is RestoreState.FOLLOWING:
                self._asking.add(restore)

    def _aim(self) -> None:
        """Tell those who wait what the ends are; read what they have yet to read."""
        followed: dict[TopicPartition, int] = {}
        waited_for: dict[TopicPartition, int] = {}
        now_ms = self._clock.now_ms()
        times = Times(now_ms, self._clock.monotonic_ms(), now_ms - self._delete_retention_ms)
        for restore, answer in self._asking.answers():
            was_standing = restore.state is RestoreState.FOLLOWING
            self._attempt(restore, partial(self._aim_one, restore, answer, times))
            if self._restores.get(restore.task) is not restore:
                continue
            self._moved[restore.task] = restore
            positions = restore.to_read()
            self._by_place.update(dict.fromkeys(positions, restore))
            if not restore.is_standby:
                waited_for |= positions
            elif not was_standing:
                followed |= positions
        self._readers.follow(followed)
        self._readers.read(waited_for)

    def _aim_one(self, restore: TaskRestore, answer: Answer, times: Times) -> None:
        if isinstance(answer, StreamerError):
            raise answer
        is_new = restore.state is RestoreState.WAITING
        aim = restore.begin if is_new else restore.aim
        aim(answer, times)
        if restore.state is RestoreState.READING:
            left = restore.progress().remaining_offsets
            _log.info("task %s: restoring %d offsets", restore.label, left)

    def _look(self) -> None:
        """What the ends of those that follow are now, which no request is needed for."""
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._look_ms:
            return
        self._look_ms = now_ms + LOOK_MS
        for place, end in self._readers.known_ends().items():
            self._by_place[place].stores[place].known_end = end

    # -- what was fetched ----------------------------------------------------------------------

    def _take(self, fetched: Fetched) -> None:
        now_ms = self._clock.monotonic_ms()
        for records in fetched.records:
            self._take_records(records, now_ms)
        for place, position in fetched.at_end.items():
            if place in self._by_place:
                self._reach(place, position, now_ms)
        for place in fetched.out_of_range:
            self._out_of_range(place)
        for place, error in fetched.failures.items():
            if place in self._by_place:
                self._fail(self._by_place[place], error)

    def _take_records(self, records: Records, now_ms: int) -> None:
        restore = self._by_place.get(records.place)
        if restore is None:
            return
        one = restore.stores[records.place]
        oldest_ms = self._clock.now_ms() - self._delete_retention_ms
        if restore.is_outdated(oldest_ms):
            self._attempt(restore, partial(restore.check_age, records.place, oldest_ms))
            return
        restore.add(records, now_ms)
        self._moved[restore.task] = restore
        if one.is_bulk or restore.is_standby:
            self._gathered.add(restore, one, now_ms)
        else:
            self._attempt(restore, partial(restore.save, one))

    def _reach(self, place: TopicPartition, position: int, now_ms: int) -> None:
        restore = self._by_place[place]
        restore.reach(place, position, now_ms)
        self._moved[restore.task] = restore
        one = restore.stores[place]
        if restore.is_standby and one.is_bulk:
            # What is still to come is in an open transaction: readers see the rest meanwhile.
            self._attempt(restore, partial(restore.save, one))
            one.is_bulk = False

    def _out_of_range(self, place: TopicPartition) -> None:
        """Records were deleted, or the topic was made anew, while it was read."""
        restore = self._by_place.get(place)
        if restore is None:
            return
        one = restore.stores[place]
        try:
            bounds = self._consumer.bounds([place])[place]
            check_place(restore.database.directory, one, bounds)
            # The broker disagreed a moment ago; a new leader may not have known the end yet.
            self._readers.again(place, one.position)
        except KafkaUnavailableError:
            self._readers.again(place, one.position)
        except StreamerError as error:
            self._fail(restore, error)

    # -- ends of restores ----------------------------------------------------------------------

    def _attempt(self, restore: TaskRestore, action: Callable[[], object]) -> None:
        """Do something that concerns one task; its failure is that task's alone."""
        with task_context(restore.label):
            try:
                action()
            except StreamerError as error:
                self._fail(restore, error)

    def _fail(self, restore: TaskRestore, error: StreamerError) -> None:
        restore.fail(error)
        self._end(restore)

    def _end(self, restore: TaskRestore) -> None:
        if self._restores.get(restore.task) is restore:
            self._forget(restore)
            self._on_end(restore)

    def _forget(self, restore: TaskRestore) -> None:
        del self._restores[restore.task]
        self._asking.discard(restore.task)
        self._gathered.forget(restore)
        places = [place for place in restore.stores if self._by_place.pop(place, None)]
        self._readers.remove(places)

    def fail_all(self, error: StreamerError) -> None:
        """The consumer itself has failed."""
        for restore in list(self._restores.values()):
            self._fail(restore, error)

    def close(self) -> None:
        for restore in list(self._restores.values()):
            self.cancel(restore)
        self._readers.close()
