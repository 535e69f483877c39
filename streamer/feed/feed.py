"""`Feed`: copies the changelogs of one old task into those of the next layout, exactly once.

Whoever begins with the id of a feed ends an earlier one, whose open transaction is aborted; only
then are the positions read. Nothing is kept on this host: it may be killed anywhere, and go on
anywhere. Brokers that are away are waited for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from streamer.clock import Clock, SystemClock
from streamer.closable import Closable
from streamer.errors import KafkaUnavailableError, StoppedError, UnfinishedError
from streamer.feed.copying import Copying
from streamer.feed.pace import FeedProgress, Pace
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import Ports
from streamer.feed.routes import routes
from streamer.feed.seeds import Seed
from streamer.feed.sums import FeedState
from streamer.ids import TopicPartition
from streamer.kafka.api import AbortableError
from streamer.topology.stores import StoreSpec

__all__ = ["Feed", "listed"]

_log = logging.getLogger(__name__)

_RECORDS_MAX = 10_000
_FETCH_MS = 200
# Inside a pause: what comes is few, and somebody waits for each commit.
_DRAIN_MS = 20
_TRIES = 3
_AGAIN_S = 0.2
_HEARD_S = 0.1


class Feed(Closable):
    """Used by one thread, but for `state`, `behind`, `progress`, `limit` and `is_hurried`.
    `ports.stopping` ends it. While `is_hurried` it knows no limit and commits what comes at once,
    as inside a pause."""

    def __init__(
        self,
        plan: FeedPlan,
        task: int,
        ports: Ports,
        *,
        specs: Iterable[StoreSpec] = (),
        starts: Mapping[str, int] | None = None,
        seed: Seed | None = None,
        bytes_per_s: int | None = None,
        clock: Clock | None = None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        """`specs` are the subtopology's stores, with bound serdes where they have a
        `partition_key`. Where the feed has no positions of its own, it begins with the `seed`, else
        at the `starts`, by store: without either it refuses to. `guard` raises where this
        process is not the one any more that may feed. Raises as `routes` does."""
        self._plan = plan
        self.task = task
        self.is_hurried = False
        self._ports = ports
        self._routes = routes(plan, specs)
        self._starts = starts
        self._seed = seed
        self._guard = guard
        self._clock = clock or SystemClock()
        self._pace = Pace(self._clock, bytes_per_s)
        self._name = plan.name(task)
        self._sources = {one.name: TopicPartition(one.source, task) for one in plan.stores}
        self._copying: Copying | None = None
        self._state = FeedState()
        self._ends: Mapping[str, int] = {}
        self._deadline_ms: int | None = None
        self._waits_for = ""
        self._tries = 0

    @property
    def state(self) -> FeedState:
        """Totals as they were committed last, and where it has read to since."""
        return self._state

    @property
    def progress(self) -> FeedProgress:
        state, ends = self._state, self._ends
        totals = state.totals
        known = ends.keys() >= self._sources.keys() and state.positions.keys() >= ends.keys()
        known = known and not state.seeding
        lag = sum(max(ends[one] - state.positions[one], 0) for one in ends) if known else -1
        left = max(lag, 0)
        mean = totals.size / totals.rows if totals.rows else 0.0
        records_per_s, bytes_per_s = self._pace.rates()
        return FeedProgress(
            task=self.task,
            positions=dict(state.positions),
            ends=dict(ends),
            lag=lag,
            records=totals.rows,
            records_total=totals.rows + left,
            size=totals.size,
            size_total=totals.size + int(left * mean),
            records_per_s=records_per_s,
            bytes_per_s=bytes_per_s,
            waits_for=self._waits_for or ("rows of a snapshot come first" if state.seeding else ""),
        )

    def limit(self, bytes_per_s: int | None) -> None:
        """From now on so many bytes in a second, None for any."""
        self._pace.bytes_per_s = bytes_per_s

    def run(self) -> None:
        """Feed until it is told to stop; brokers that are away are waited for. Raises as `open` and
        `step` do, but for StoppedError."""
        while not self._ports.stopping.is_set():
            self._turn(_DRAIN_MS if self.is_hurried else _FETCH_MS)
            self._rest()

    def drain_to(self, ends: Mapping[str, int], *, timeout_s: float) -> None:
        """Feed until all before these ends (by store, high watermarks) is committed, as fast as it
        can. Raises UnfinishedError where that takes longer, StoppedError when told to stop. While
        brokers are away one question to them may outlast the time by ten seconds."""
        self._deadline_ms = self._clock.monotonic_ms() + int(timeout_s * 1000)
        try:
            while behind := self.behind(ends):
                if self._ports.stopping.is_set():
                    raise StoppedError(f"{self._name}: asked to stop at {listed(behind)}")
                if self._is_over():
                    raise UnfinishedError(
                        f"feed {self._name} was not at the end in {timeout_s:g} s:"
                        f" {listed(behind)}" + f", {self._waits_for}" * bool(self._waits_for),
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
        return not self.behind({store: ends[place] for store, place in self._sources.items()})

    def behind(self, ends: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Of these ends, by store, those that are not reached yet, each with where the feed is."""
        at = {} if self._state.seeding else self._state.positions
        return {one: (at.get(one, -1), end) for one, end in ends.items() if at.get(one, -1) < end}

    def open(self) -> None:
        """Take over the feed's id, and go on where it was committed.

        Raises TopicMissingError and PartitionsChangedError for topics that are not those of the
        plan, OperationRefusedError for positions that are lost or somebody else's,
        ChangelogTrimmedError for a changelog that does not reach back to them.
        """
        self.close()
        self._copying = Copying(
            self._plan,
            self.task,
            self._ports,
            routes=self._routes,
            starts=self._starts,
            seed=self._seed,
            clock=self._clock,
            is_over=self._is_over,
            guard=self._guard,
        )
        self._state = self._copying.state

    def step(self, fetch_ms: int = _FETCH_MS) -> int:
        """Feed what comes in so long as one transaction; the number of its records.

        Raises what cannot be mended by trying again: ProcessingError for a record whose home
        cannot be told, RecordRefusedError for one that brokers refuse, FencedError where another
        process feeds this task, ChangelogTrimmedError.
        """
        if self._copying is None:
            self.open()
        assert self._copying is not None
        is_draining = self.is_hurried or self._deadline_ms is not None
        records_max = _RECORDS_MAX if is_draining else self._pace.records_max(_RECORDS_MAX)
        copied = self._copying.step(records_max, fetch_ms)
        self._state, self._ends = self._copying.state, self._copying.ends
        if copied.records:
            self._tries = 0
            self._pace.fed(*copied)
        return copied.records

    def close(self) -> None:
        """Let go of the clients; what is not committed is fed again. May be called twice."""
        copying, self._copying = self._copying, None
        if copying is not None:
            copying.close()

    def _turn(self, fetch_ms: int) -> None:
        """A step, or a wait for brokers that are away. A deadline or a stop is for who called."""
        try:
            self.step(fetch_ms)
            self._waits_for = ""
        except (KafkaUnavailableError, AbortableError) as error:
            self.close()
            if isinstance(error, AbortableError) and self._tries >= _TRIES:
                raise
            self._tries += isinstance(error, AbortableError)
            self._waits_for = str(error)
            _log.warning("feed %s begins again: %s", self._name, error)
            self._ports.stopping.wait(_AGAIN_S)
        except StoppedError:
            self.close()
        except BaseException:
            self.close()
            raise

    def _rest(self) -> None:
        """Keep to the limit. Another one is heard of soon, and a stop at once."""
        while not self.is_hurried and (left_s := self._pace.wait_s()):
            if self._ports.stopping.wait(min(left_s, _HEARD_S)):
                return

    def _is_over(self) -> bool:
        if self._ports.stopping.is_set():
            return True
        return self._deadline_ms is not None and self._clock.monotonic_ms() >= self._deadline_ms


def listed(behind: Mapping[str, tuple[int, int]]) -> str:
    """What `Feed.behind` gives, in words."""
    return ", ".join(f"{store} at {at} of {end}" for store, (at, end) in sorted(behind.items()))
