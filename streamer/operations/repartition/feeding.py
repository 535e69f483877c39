"""The feeds of an operation in this process, and how near to the end they are.

Feeds begin where they stood, so a process that goes on with the operation only asks for them. A
changelog is copied from its begin; where it does not begin at 0, the rows of a snapshot come first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from streamer.closable import Closable
from streamer.config import Config
from streamer.feed.feed import Feed
from streamer.feed.pace import FeedProgress
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import KafkaPorts, Ports
from streamer.feed.proof import states
from streamer.feed.running import RunningFeeds
from streamer.ids import TaskId, TopicPartition
from streamer.operations.repartition.ports import Feeding
from streamer.operations.repartition.request import Asked
from streamer.operations.repartition.seeds import SnapshotSeed
from streamer.topology.stores import StoreSpec

__all__ = ["LAG_MAX", "KafkaFeeding", "feed_groups", "has_begun", "lag_of", "lags", "unfed"]

LAG_MAX = 10_000
"""Offsets that all feeds together may be behind when an operation goes on: a tenth of a second's
work, and at most so much is left to be fed inside the pause."""


class KafkaFeeding(Closable):
    """A `Feeding`. Used by one thread."""

    def __init__(
        self,
        config: Config,
        asked: Asked,
        guard: Callable[[], None],
        *,
        specs: Callable[[FeedPlan], Sequence[StoreSpec]],
    ) -> None:
        """`specs` gives those of a plan, as a `World` does."""
        self._config = config
        self._specs = specs
        self._guard = guard
        self._plans = asked.feeds
        self._seeds = {
            task: SnapshotSeed(config, TaskId.parse(task), record, application=asked.application)
            for task, record in asked.seeds.items()
        }
        self._running: list[tuple[FeedPlan, RunningFeeds]] = []

    def progress(self) -> list[FeedProgress]:
        self._begin()
        for _plan, feeds in self._running:
            feeds.check()
        return [one for _plan, feeds in self._running for one in feeds.progress]

    def halt(self) -> None:
        running, self._running = self._running, []
        for _plan, feeds in running:
            feeds.close()
        for seed in self._seeds.values():
            seed.close()

    def drain_to(self, ends: Mapping[TopicPartition, int], *, timeout_s: float) -> None:
        self._begin()
        deadline = time.monotonic() + timeout_s
        for plan, feeds in self._running:
            wanted = {
                task: {one.name: ends[TopicPartition(one.source, task)] for one in plan.stores}
                for task in range(plan.source.tasks)
            }
            feeds.drain_to(wanted, timeout_s=max(deadline - time.monotonic(), 0.0))

    def close(self) -> None:
        self.halt()

    def _begin(self) -> None:
        if self._running:
            return
        shares = max(sum(plan.source.tasks for plan in self._plans), 1)
        for plan in self._plans:
            ports = KafkaPorts(self._config, stopping=threading.Event(), shares=shares)
            starts = dict.fromkeys((one.name for one in plan.stores), 0)
            specs = self._specs(plan)
            feeds = [
                Feed(
                    plan,
                    task.partition,
                    ports,
                    specs=specs,
                    starts=starts,
                    seed=self._seeds.get(str(task)),
                    guard=self._guard,
                )
                for task in plan.tasks
            ]
            self._running.append((plan, RunningFeeds(feeds, ports.stopping)))


def feed_groups(plan: FeedPlan) -> list[str]:
    """The groups that the feeds of a plan commit to, which are their transactional ids."""
    return [plan.name(task) for task in range(plan.source.tasks)]


def unfed(plan: FeedPlan, ports: Ports) -> int | None:
    """Offsets of the old changelogs that are not fed yet, as was committed last; None where a feed
    has not begun with them."""
    found = states(plan, ports, is_stable=False)
    if any(one.seeding for one in found.values()):
        return None
    places = {
        TopicPartition(one.source, task): found[task].positions.get(one.name)
        for one in plan.stores
        for task in range(plan.source.tasks)
    }
    known = {place: at for place, at in places.items() if at is not None}
    if known.keys() != places.keys():
        return None
    ends = ports.ends(known)
    return sum(max(ends[place] - at, 0) for place, at in known.items())


def has_begun(plan: FeedPlan, ports: Ports) -> bool:
    """Whether a feed has left a position anywhere; the changelogs may be gone."""
    return any(one.positions for one in states(plan, ports, is_stable=False).values())


def lag_of(feeding: Feeding) -> int:
    """Offsets that the feeds have yet to read; -1 while one does not know."""
    return lags(feeding.progress())


def lags(progress: Iterable[FeedProgress]) -> int:
    found = [one.lag for one in progress]
    return -1 if any(lag < 0 for lag in found) else sum(found)
