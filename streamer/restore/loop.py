"""What the restoring thread does: fetch, hand out, save, finish. All of it in that one thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

from streamer.clock import Clock
from streamer.errors import KafkaUnavailableError, StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import ChangelogConsumer, Fetched
from streamer.log import task_context
from streamer.restore.task import RestoreState, TaskRestore, check_position

__all__ = ["RestoreLoop"]

_log = logging.getLogger(__name__)

# Measured: 10,000 cost a third more, since their messages fall out of the processor's cache.
FETCH_RECORDS = 1_000
FETCH_MS = 100
RETRY_MS = 500


class RestoreLoop:
    """`on_end` is told of each restore that is done or has failed."""

    def __init__(
        self,
        consumer: ChangelogConsumer,
        on_end: Callable[[TaskRestore], None],
        *,
        clock: Clock,
        delete_retention_ms: int,
    ) -> None:
        self._consumer = consumer
        self._on_end = on_end
        self._clock = clock
        self._delete_retention_ms = delete_retention_ms
        self._restores: dict[TaskId, TaskRestore] = {}
        self._by_place: dict[TopicPartition, TaskRestore] = {}
        self._retry_ms = 0

    @property
    def is_idle(self) -> bool:
        return not self._restores

    def add(self, restore: TaskRestore) -> None:
        self._restores[restore.task] = restore

    def cancel(self, restore: TaskRestore) -> None:
        """Save what the restore has and forget it; nothing happens when it has ended."""
        if self._restores.get(restore.task) is not restore:
            return
        self._forget(restore)
        with task_context(restore.task):
            try:
                restore.cancel()
            except StreamerError as error:
                # It goes on from what was saved before: nothing is lost but time.
                _log.warning("task %s: restore cut short: %s", restore.task, error)

    def fetch(self) -> Fetched:
        """What the changelogs bring next, after at most a moment."""
        waiting = [one for one in self._restores.values() if one.state is RestoreState.WAITING]
        if waiting and self._clock.monotonic_ms() >= self._retry_ms:
            self._begin(waiting)
        # Also while nothing is read: it waits, and lets the client notice brokers that return.
        return self._consumer.fetch(FETCH_RECORDS, FETCH_MS)

    def apply(self, fetched: Fetched, gathered_bytes_max: int) -> None:
        """Take it in, keep what is gathered within its memory, and end what is complete."""
        self._take(fetched)
        self._save_largest(gathered_bytes_max)
        for restore in list(self._restores.values()):
            if restore.state is RestoreState.READING and restore.is_complete:
                self._attempt(restore, restore.complete)
                self._end(restore)

    def _begin(self, waiting: Iterable[TaskRestore]) -> None:
        for restore in waiting:
            try:
                bounds = self._consumer.bounds(list(restore.changelogs.values()))
            except KafkaUnavailableError as error:
                _log.warning("restores wait for the brokers: %s", error)
                self._retry_ms = self._clock.monotonic_ms() + RETRY_MS
                return
            except StreamerError as error:
                self._fail(restore, error)
                continue
            with task_context(restore.task):
                try:
                    positions = restore.begin(
                        bounds,
                        now_ms=self._clock.now_ms(),
                        delete_retention_ms=self._delete_retention_ms,
                    )
                except StreamerError as error:
                    self._fail(restore, error)
                    continue
                left = restore.progress().remaining_offsets
                _log.info("task %s: restoring %d offsets", restore.task, left)
            self._by_place.update(dict.fromkeys(positions, restore))
            if positions:
                self._consumer.add(positions)

    def _take(self, fetched: Fetched) -> None:
        now_ms = self._clock.monotonic_ms()
        for records in fetched.records:
            restore = self._by_place.get(records.place)
            if restore is None:
                continue
            one = restore.stores[records.place]
            restore.add(records, now_ms)
            if not one.is_bulk:
                self._attempt(restore, partial(restore.save, one))
        for place, position in fetched.at_end.items():
            if place in self._by_place:
                self._by_place[place].reach(place, position, now_ms)
        for place in fetched.out_of_range:
            self._out_of_range(place)
        for place, error in fetched.failures.items():
            if place in self._by_place:
                self._fail(self._by_place[place], error)

    def _out_of_range(self, place: TopicPartition) -> None:
        """Records were deleted, or the topic was made anew, while it was read."""
        restore = self._by_place.get(place)
        if restore is None:
            return
        position = restore.stores[place].position
        try:
            bounds = self._consumer.bounds([place])[place]
            check_position(restore.database, place, position=position, bounds=bounds)
            # The broker disagreed a moment ago; a new leader may not have known the end yet.
            self._consumer.remove([place])
            self._consumer.add({place: position})
        except KafkaUnavailableError:
            self._consumer.remove([place])
            self._consumer.add({place: position})
        except StreamerError as error:
            self._fail(restore, error)

    def _save_largest(self, gathered_bytes_max: int) -> None:
        """Keep what is gathered within its memory, by writing the largest parts of it."""
        gathered = [
            (restore, one) for restore in self._restores.values() for one in restore.stores.values()
        ]
        if sum(one.memory_bytes for _restore, one in gathered) <= gathered_bytes_max:
            return
        # Most of a changelog replaces earlier rows, so count what is really there before writing.
        total = sum(one.recount() for _restore, one in gathered)
        if total <= gathered_bytes_max * 3 // 4:
            return
        gathered.sort(key=lambda pair: pair[1].memory_bytes, reverse=True)
        for restore, one in gathered:
            total -= one.memory_bytes
            self._attempt(restore, partial(restore.save, one))
            if total <= gathered_bytes_max // 2:
                return

    def _attempt(self, restore: TaskRestore, action: Callable[[], None]) -> None:
        """Do something that concerns one task; its failure is that task's alone."""
        with task_context(restore.task):
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
        places = [place for place, other in self._by_place.items() if other is restore]
        for place in places:
            del self._by_place[place]
        if places:
            self._consumer.remove(places)

    def fail_all(self, error: StreamerError) -> None:
        """The consumer itself has failed."""
        for restore in list(self._restores.values()):
            self._fail(restore, error)

    def close(self) -> None:
        for restore in list(self._restores.values()):
            self.cancel(restore)
        self._consumer.close()
