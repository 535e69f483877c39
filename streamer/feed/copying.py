"""The copying itself: one process with the id of a feed, from its claim until it lets go.

    claim the id -> read the positions -> ( fetch -> route -> write -> commit with positions )*

A batch is one transaction. All records of a key lie in one partition and go to one, in their order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from streamer import failpoints
from streamer.clock import Clock
from streamer.closable import Closable
from streamer.errors import RecordRefusedError, StreamerError, TaskCorruptedError
from streamer.feed.age import Age
from streamer.feed.opening import begun, check_reach, check_topics
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import Ports
from streamer.feed.routes import Route
from streamer.feed.seeds import Seed, Sowing
from streamer.feed.sums import Cell, FeedState, Sums, added, places, sums_of
from streamer.ids import TopicPartition
from streamer.kafka.api import AbortableError
from streamer.record import RawBatch
from streamer.split.totals import Totals

__all__ = ["Copied", "Copying"]

_log = logging.getLogger(__name__)

_TRIES = 10
_AGAIN_S = 0.2
# Brokers forget positions that are not committed for offsets.retention.minutes, an hour at least.
_COMMIT_AGAIN_MS = 20 * 60_000


class Copied(NamedTuple):
    """By one step."""

    records: int
    size: int


class Copying(Closable):
    """Used by one thread, but for `state` and `ends`."""

    def __init__(
        self,
        plan: FeedPlan,
        task: int,
        ports: Ports,
        *,
        routes: Mapping[str, Route],
        starts: Mapping[str, int] | None,
        seed: Seed | None,
        clock: Clock,
        is_over: Callable[[], bool],
        guard: Callable[[], None],
    ) -> None:
        """Take over the feed's id, and go on where it was committed. Raises as `check_topics`,
        `guard`, `begun` and `check_reach` do."""
        self._plan = plan
        self._task = task
        self._ports = ports
        self._routes = routes
        self._clock = clock
        self._name = plan.name(task)
        self._sources = {one.name: TopicPartition(one.source, task) for one in plan.stores}
        self._seed = seed
        self._sowing: Sowing | None = None
        self._tries = 0
        self._committed_ms = clock.monotonic_ms()
        self.ends: Mapping[str, int] = {}
        check_topics(plan, ports)
        topics = [one.target for one in plan.stores]
        self._producer = ports.producer(self._name, topics, is_over=is_over)
        try:
            self._producer.init()
            # Not before: whoever ends all feeds takes their ids over once more behind this look.
            guard()
            committed = ports.committed(self._name, places(plan, task))
            found = FeedState.decode(plan, task, committed)
            now_ms = clock.now_ms()
            self.state = begun(
                found, self._sources, self._name, starts=starts, seed=seed, now_ms=now_ms
            )
            self._noted_ms = self.state.as_of_ms
            self._age = Age(self._name, ports, clock, as_of_ms=self.state.as_of_ms)
            check_reach(ports, self._name, self._positions)
            self._reader = ports.reader(self._name)
        except BaseException:
            self._producer.close()
            raise
        try:
            if not found.positions:
                # From here on nobody needs to be told where it began.
                self._commit(self.state, None)
            self._reader.add(self._positions)
        except BaseException:
            self.close()
            raise
        _log.info("feed %s begins at %s", self._name, _shown(self._positions))

    def step(self, records_max: int, fetch_ms: int) -> Copied:
        """Copy what comes in so long as one transaction. Raises as `Feed.step` does."""
        if self.state.seeding:
            return self._sow()
        fetched = self._reader.fetch(records_max, fetch_ms)
        for place, error in fetched.failures.items():
            raise self._unreadable(place, error)
        copied = Copied(0, 0)
        if fetched.batches:
            at = {self._routes[one.topic].store.name: one.position for one in fetched.batches}
            copied = self._copy(fetched.batches, lambda fed: self.state.advanced(at, fed))
        elif self._is_due:
            self._commit(self.state, None)
        if copied.records or not fetched.batches:
            self._passed(fetched.ends)
        self._age.look(self._positions)
        self.state = replace(self.state, as_of_ms=self._age.as_of_ms)
        self.ends = {
            store: max(end, self.state.positions[store])
            for store, place in self._sources.items()
            if (end := self._reader.known_end(place)) >= 0
        }
        return copied

    def close(self) -> None:
        """Let go of the clients; what is not committed is copied by whoever comes next."""
        self._producer.close()
        self._reader.close()

    @property
    def _is_due(self) -> bool:
        """Whether all is to be committed again: before it is forgotten, or looks too old to
        whoever goes on with it."""
        every_ms = min(_COMMIT_AGAIN_MS, self._ports.delete_retention_ms // 4)
        since_ms = self._clock.monotonic_ms() - self._committed_ms
        return max(since_ms, self.state.as_of_ms - self._noted_ms) > every_ms

    @property
    def _positions(self) -> dict[TopicPartition, int]:
        return {place: self.state.positions[one] for one, place in self._sources.items()}

    def _sow(self) -> Copied:
        """Copy some rows of the snapshot."""
        assert self._seed is not None
        if self._sowing is None:
            store = min(self.state.seeding)
            place, fed = self._sources[store], self.state.seeding[store]
            self._sowing = Sowing(self._seed, store, place, fed=fed)
        store, batch = self._sowing.store, self._sowing.next()
        if batch is not None:
            copied = self._copy([batch], lambda fed: self.state.seeded(store, len(batch), fed))
            if not copied.records:
                # Taken back: it comes again.
                self._sowing = None
            return copied
        self._sowing = None
        self._commit(self.state.sown(store), {})
        if not self.state.seeding:
            self._seed.close()
            _log.info("feed %s has all rows of the snapshot", self._name)
        return Copied(0, 0)

    def _copy(self, batches: list[RawBatch], advanced: Callable[[Sums], FeedState]) -> Copied:
        # Before anything is written: a record that cannot be fed leaves no transaction open.
        self._age.check(batch.place for batch in batches)
        routed = [(self._routes[batch.topic], batch) for batch in batches]
        targets = [route.homes(batch)[1] for route, batch in routed]
        try:
            failpoints.hit("feed.before_produce")
            self._producer.begin()
            for (route, batch), homes in zip(routed, targets, strict=True):
                headers = batch.headers
                self._producer.send(
                    route.store.target,
                    batch.keys,
                    batch.values,
                    timestamps=batch.timestamps,
                    headers=None if headers is None else [each or [] for each in headers],
                    partitions=homes.tolist(),
                )
            failpoints.hit("feed.after_produce")
            each = zip(batches, targets, strict=True)
            fed = added(*(sums_of(self._plan, batch, homes) for batch, homes in each))
            self._commit(advanced(fed), fed)
        except (AbortableError, RecordRefusedError) as error:
            self._take_back(error)
            return Copied(0, 0)
        self._tries = 0
        return Copied(sum(map(len, batches)), sum(one.size for one in fed.values()))

    def _commit(self, state: FeedState, cells: Mapping[Cell, Totals] | None) -> None:
        """`cells` are those that have changed; None commits all again."""
        failpoints.hit("feed.before_commit")
        if self._is_due:
            cells = None
        self._producer.begin()
        entries = state.entries(self._plan, self._task, cells)
        self._producer.commit(entries, self._reader.group())
        failpoints.hit("feed.after_commit")
        self.state, self._noted_ms = state, state.as_of_ms
        if cells is None:
            self._committed_ms = self._clock.monotonic_ms()

    def _take_back(self, error: StreamerError) -> None:
        """Read the batch again, after a failure that may pass."""
        self._producer.abort()
        self._tries += 1
        if isinstance(error, RecordRefusedError) or self._tries >= _TRIES:
            raise error
        # A topic that was deleted looks like brokers that do not answer for it.
        check_topics(self._plan, self._ports)
        _log.warning("feed %s takes a batch back and feeds it again: %s", self._name, error)
        self._reader.seek(self._positions)
        self._ports.stopping.wait(_AGAIN_S)

    def _passed(self, ends: Mapping[TopicPartition, int]) -> None:
        """Ends that were read to: markers lie before them, and nothing that is to be fed."""
        passed = {
            store: max(ends[place], self.state.positions[store])
            for store, place in self._sources.items()
            if place in ends
        }
        if passed:
            self.state = self.state.advanced(passed, {})

    def _unreadable(self, place: TopicPartition, error: StreamerError) -> StreamerError:
        """What a reader cannot read any more, in words of a feed."""
        if isinstance(error, TaskCorruptedError):
            check_reach(self._ports, self._name, {place: self._positions[place]})
        return error


def _shown(positions: Mapping[TopicPartition, int]) -> str:
    return ", ".join(f"{place}@{at}" for place, at in positions.items()) or "nothing to read"
