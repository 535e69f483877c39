"""`Feed`: copies the changelogs of one old task into those of the next layout, exactly once.

    claim its id -> read its positions -> ( fetch -> route -> write -> commit with positions )*

Whoever begins with the id of a feed ends an earlier one, whose open transaction is aborted; only
then are the positions read. A batch is one transaction. All records of a key lie in one partition
and go to one, in their order. Nothing is kept on this host: it may be killed anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from streamer import failpoints
from streamer.clock import Clock, SystemClock
from streamer.closable import Closable
from streamer.errors import (
    KafkaUnavailableError,
    RecordRefusedError,
    StoppedError,
    StreamerError,
    TaskCorruptedError,
    UnfinishedError,
)
from streamer.feed.opening import begun, check_reach, check_topics
from streamer.feed.pace import FeedProgress, Pace
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import Ports
from streamer.feed.routes import routes
from streamer.feed.sums import Cell, FeedState, added, places, sums_of
from streamer.ids import TopicPartition
from streamer.kafka.api import AbortableError, InputReader, ResultProducer
from streamer.record import RawBatch
from streamer.split.fingerprint import Totals
from streamer.topology.stores import StoreSpec

__all__ = ["Feed"]

_log = logging.getLogger(__name__)

_RECORDS_MAX = 10_000
_FETCH_MS = 200
# Inside a pause: what comes is few, and somebody waits for each commit.
_DRAIN_MS = 20
_TRIES = 10
_AGAIN_S = 0.2
# Brokers forget positions that are not committed for offsets.retention.minutes, an hour at least.
_COMMIT_AGAIN_MS = 20 * 60_000


class Feed(Closable):
    """Used by one thread, but for `progress` and `state`. `ports.stopping` ends it."""

    def __init__(
        self,
        plan: FeedPlan,
        task: int,
        ports: Ports,
        *,
        specs: Iterable[StoreSpec] = (),
        starts: Mapping[str, int] | None = None,
        bytes_per_s: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`specs` are the subtopology's stores, with bound serdes where they have a
        `partition_key`. `starts` are positions by store, taken where the feed has none of its own:
        without them it refuses to begin. Raises as `routes` does."""
        self._plan = plan
        self._task = task
        self._ports = ports
        self._routes = routes(plan, specs)
        self._starts = starts
        self._clock = clock or SystemClock()
        self._pace = Pace(self._clock, bytes_per_s)
        self._name = plan.name(task)
        self._sources = {one.name: TopicPartition(one.source, task) for one in plan.stores}
        self._clients: tuple[InputReader, ResultProducer] | None = None
        self._state = FeedState()
        self._ends: dict[str, int] = {}
        self._committed_ms = 0
        self._deadline_ms: int | None = None
        self._waits_for = ""
        self._tries = 0

    # -- what others see -------------------------------------------------------------------------

    @property
    def state(self) -> FeedState:
        """As it was committed last, and where it has read to since."""
        return self._state

    @property
    def progress(self) -> FeedProgress:
        """May be asked by another thread."""
        state, ends = self._state, self._ends
        totals = state.totals
        known = ends.keys() >= self._sources.keys() and state.positions.keys() >= ends.keys()
        lag = sum(max(ends[one] - state.positions[one], 0) for one in ends) if known else -1
        left = max(lag, 0)
        mean = totals.size / totals.rows if totals.rows else 0.0
        records_per_s, bytes_per_s = self._pace.rates()
        return FeedProgress(
            task=self._task,
            positions=dict(state.positions),
            ends=dict(ends),
            lag=lag,
            records=totals.rows,
            records_total=totals.rows + left,
            size=totals.size,
            size_total=totals.size + int(left * mean),
            records_per_s=records_per_s,
            bytes_per_s=bytes_per_s,
            waits_for=self._waits_for,
        )

    def limit(self, bytes_per_s: int | None) -> None:
        """From now on so many bytes in a second, None for any."""
        self._pace.bytes_per_s = bytes_per_s

    # -- feeding ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Feed until it is told to stop; brokers that are away are waited for. Raises as `open` and
        `step` do, but for StoppedError."""
        stopping = self._ports.stopping
        while not stopping.is_set():
            self._turn(_FETCH_MS)
            if left_s := self._pace.wait_s():
                stopping.wait(left_s)

    def drain_to(self, ends: Mapping[str, int], *, timeout_s: float) -> None:
        """Feed until all before these ends (by store, high watermarks) is committed, as fast as it
        can. Raises UnfinishedError where that takes longer, StoppedError when told to stop."""
        self._deadline_ms = self._clock.monotonic_ms() + int(timeout_s * 1000)
        try:
            while behind := self._behind(ends):
                if self._ports.stopping.is_set():
                    raise StoppedError(f"{self._name}: asked to stop at {_listed(behind)}")
                if self._is_over():
                    raise UnfinishedError(
                        f"feed {self._name} was not at the end in {timeout_s:g} s:"
                        f" {_listed(behind)}" + f", {self._waits_for}" * bool(self._waits_for),
                        hint="it goes on from there; a transaction that is open in a changelog"
                        " holds it back until its worker ends it or transaction_timeout_ms is over",
                    )
                self._turn(_DRAIN_MS)
        finally:
            self._deadline_ms = None

    def caught_up(self) -> bool:
        """Whether all that had been written when this was asked is fed and committed. Raises
        KafkaUnavailableError while brokers are away."""
        ends = self._ports.ends(self._sources.values())
        return not self._behind({store: ends[place] for store, place in self._sources.items()})

    def open(self) -> None:
        """Take over the feed's id, and go on where it was committed.

        Raises TopicMissingError and PartitionsChangedError for topics that are not those of the
        plan, OperationRefusedError for positions that are lost or somebody else's,
        ChangelogTrimmedError for a changelog that does not reach back to them.
        """
        self.close()
        check_topics(self._plan, self._ports)
        topics = [one.target for one in self._plan.stores]
        producer = self._ports.producer(self._name, topics, is_over=self._is_over)
        try:
            producer.init()
            committed = self._ports.committed(self._name, places(self._plan, self._task))
            found = FeedState.decode(self._plan, self._task, committed)
            state = begun(found, self._sources, self._name, starts=self._starts)
            positions = {place: state.positions[one] for one, place in self._sources.items()}
            check_reach(self._ports, self._name, positions)
            reader = self._ports.reader(self._name)
        except BaseException:
            producer.close()
            raise
        self._clients = reader, producer
        self._state = state
        if not found.positions:
            # From here on nobody needs to be told where it began.
            producer.begin()
            producer.commit(state.entries(self._plan, self._task), reader.group())
        self._committed_ms = self._clock.monotonic_ms()
        reader.add(positions)
        _log.info("feed %s begins at %s", self._name, _shown(positions))

    def step(self, fetch_ms: int = _FETCH_MS) -> int:
        """Feed what comes in so long as one transaction; the number of its records.

        Raises what cannot be mended by trying again: ProcessingError for a record whose home
        cannot be told, RecordRefusedError for one that brokers refuse, FencedError where another
        process feeds this task.
        """
        if self._clients is None:
            self.open()
        assert self._clients is not None
        reader, _producer = self._clients
        fetched = reader.fetch(self._pace.records_max(_RECORDS_MAX), fetch_ms)
        for place, error in fetched.failures.items():
            raise self._unreadable(place, error)
        count = 0
        if fetched.batches:
            count = self._feed(fetched.batches)
        elif self._clock.monotonic_ms() - self._committed_ms > _COMMIT_AGAIN_MS:
            self._commit(self._state, None)
        if count or not fetched.batches:
            self._passed(fetched.ends)
        self._ends = {
            store: max(end, self._state.positions[store])
            for store, place in self._sources.items()
            if (end := reader.known_end(place)) >= 0
        }
        return count

    def close(self) -> None:
        """Let go of the clients; what is not committed is read again. May be called twice."""
        if self._clients is not None:
            reader, producer = self._clients
            self._clients = None
            producer.close()
            reader.close()

    # -- inside ----------------------------------------------------------------------------------

    def _turn(self, fetch_ms: int) -> None:
        """A step, or a wait for brokers that are away. A deadline or a stop is for who called."""
        try:
            self.step(fetch_ms)
            self._waits_for = ""
        except (KafkaUnavailableError, AbortableError) as error:
            # A commit without records may fail like any other.
            self.close()
            if isinstance(error, AbortableError) and self._failed() >= _TRIES:
                raise
            self._waits_for = str(error)
            _log.warning("feed %s begins again: %s", self._name, error)
            self._ports.stopping.wait(_AGAIN_S)
        except StoppedError:
            self.close()
        except BaseException:
            self.close()
            raise

    def _feed(self, batches: list[RawBatch]) -> int:
        assert self._clients is not None
        # Before anything is written: a record that cannot be fed leaves no transaction open.
        routed = [(self._routes[batch.topic], batch) for batch in batches]
        targets = [route.homes(batch)[1] for route, batch in routed]
        _reader, producer = self._clients
        try:
            failpoints.hit("feed.before_produce")
            producer.begin()
            for (route, batch), homes in zip(routed, targets, strict=True):
                headers = batch.headers
                producer.send(
                    route.store.target,
                    batch.keys,
                    batch.values,
                    timestamps=batch.timestamps,
                    headers=None if headers is None else [each or [] for each in headers],
                    partitions=homes.tolist(),
                )
            failpoints.hit("feed.after_produce")
            each = zip(routed, targets, strict=True)
            fed = added(
                *(sums_of(self._plan, one.store.name, batch, to) for (one, batch), to in each)
            )
            positions = {route.store.name: batch.position for route, batch in routed}
            self._commit(self._state.advanced(positions, fed), fed)
        except (AbortableError, RecordRefusedError) as error:
            self._take_back(error)
            return 0
        self._tries = 0
        count = sum(map(len, batches))
        self._pace.fed(count, sum(one.size for one in fed.values()))
        return count

    def _commit(self, state: FeedState, cells: Mapping[Cell, Totals] | None) -> None:
        """`cells` are those that have changed; None commits all again."""
        assert self._clients is not None
        reader, producer = self._clients
        failpoints.hit("feed.before_commit")
        now = self._clock.monotonic_ms()
        if now - self._committed_ms > _COMMIT_AGAIN_MS:
            cells = None
        producer.begin()
        producer.commit(state.entries(self._plan, self._task, cells), reader.group())
        failpoints.hit("feed.after_commit")
        self._state = state
        if cells is None:
            self._committed_ms = now

    def _take_back(self, error: StreamerError) -> None:
        """Read the batch again, after a failure that may pass."""
        assert self._clients is not None
        reader, producer = self._clients
        producer.abort()
        if isinstance(error, RecordRefusedError) or self._failed() >= _TRIES:
            raise error
        _log.warning("feed %s takes a batch back and feeds it again: %s", self._name, error)
        reader.seek({place: self._state.positions[one] for one, place in self._sources.items()})
        self._ports.stopping.wait(_AGAIN_S)

    def _failed(self) -> int:
        """How many times one after the other."""
        self._tries += 1
        return self._tries

    def _passed(self, ends: Mapping[TopicPartition, int]) -> None:
        """Ends that were read to: markers lie before them, and nothing that is to be fed."""
        passed = {
            store: max(ends[place], self._state.positions[store])
            for store, place in self._sources.items()
            if place in ends
        }
        if passed:
            self._state = self._state.advanced(passed, {})

    def _behind(self, ends: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        at = self._state.positions
        return {one: (at.get(one, -1), end) for one, end in ends.items() if at.get(one, -1) < end}

    def _is_over(self) -> bool:
        if self._ports.stopping.is_set():
            return True
        return self._deadline_ms is not None and self._clock.monotonic_ms() >= self._deadline_ms

    def _unreadable(self, place: TopicPartition, error: StreamerError) -> StreamerError:
        """What a reader cannot read any more, in words of a feed."""
        if isinstance(error, TaskCorruptedError):
            store = self._plan.store(place.topic).name
            check_reach(self._ports, self._name, {place: self._state.positions[store]})
        return error


def _listed(behind: Mapping[str, tuple[int, int]]) -> str:
    return ", ".join(f"{store} at {at} of {end}" for store, (at, end) in sorted(behind.items()))


def _shown(positions: Mapping[TopicPartition, int]) -> str:
    return ", ".join(f"{place}@{at}" for place, at in positions.items()) or "nothing to read"
