"""What a replay begins with other than the begin of its input: the snapshot of each task that was
made by a certain time, and from where on it reads.

Each task stands where its own snapshot does. That is one state of the application only where no
task reads what another one has sent, so others are refused (see request.py).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from streamer.config import Config
from streamer.errors import OperationRefusedError, SnapshotNeededError
from streamer.feed.plan import FeedPlan
from streamer.ids import Layout, TaskId, TopicPartition, changelog_topic
from streamer.kafka.changelog import Bounds
from streamer.layout import ApplicationLayout
from streamer.operations.repartition.seeds import SeedRecord
from streamer.snapshot.listing import readable, stored_times
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.opening import open_repository
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf

__all__ = [
    "Beginning",
    "choose_beginning",
    "first_hint",
    "first_possible_ms",
    "moment",
    "read_by_task",
]


@dataclass(frozen=True, slots=True)
class Beginning:
    """The snapshots by task, and where each partition is read from."""

    seeds: Mapping[str, SeedRecord] = field(default_factory=dict)
    begin: Mapping[TopicPartition, int] = field(default_factory=dict)
    former: Mapping[str, SeedRecord] = field(default_factory=dict)
    """Those of the interval's windows, where there is one, and `until` where the `seeds` stand."""
    until: Mapping[TopicPartition, int] = field(default_factory=dict)


def read_by_task(layout: ApplicationLayout, task: TaskId) -> list[TopicPartition]:
    """The partitions of topics of others that a task reads."""
    one = layout.subtopologies[task.subtopology]
    return [
        TopicPartition(topic, partition)
        for topic, read in sorted(one.external.items())
        for partition in one.partitions_of(task.partition, read.partitions)
    ]


def choose_beginning(
    config: Config,
    plans: Iterable[FeedPlan],
    layout: ApplicationLayout,
    *,
    at_ms: int,
    bounds: Mapping[TopicPartition, Bounds],
    layout_max: int | None = None,
    is_current: bool = False,
) -> Beginning:
    """Of each task that keeps state the newest snapshot that was made at `at_ms` or before, by its
    maker's clock, in this layout or before; with `is_current` in this one alone, which has the
    state as it is: a replay has put another one in the place of that of a layout before it.
    `bounds` are those of the input.

    Raises OperationRefusedError where a task has none from which can be gone on, with the first
    time that will do for all, SnapshotNeededError where it has none that is current, and
    RepositoryError.
    """
    if not config.snapshot_repository:
        raise OperationRefusedError(
            "a replay from a time begins with snapshots, and no snapshot_repository is set",
            hint="name the repository of the workers' snapshots: --set snapshot_repository=...",
        )
    seeds: dict[str, SeedRecord] = {}
    begin: dict[TopicPartition, int] = {}
    with open_repository(config, config.snapshot_repository) as repository:
        looks = _looks(
            repository, plans, layout, bounds=bounds, layout_max=layout_max, is_current=is_current
        )
        for look in looks:
            manifest = look.newest(at_ms)
            if manifest is None and is_current:
                raise SnapshotNeededError(
                    f"task {look.task} has no snapshot in {repository.address} of its state in the"
                    f" layout that holds: {look.why_none(at_ms)}",
                    hint="make one of all tasks: streamer snapshot create",
                )
            if manifest is None:
                raise OperationRefusedError(
                    f"task {look.task} has no snapshot in {repository.address} that was made by"
                    f" {moment(at_ms)} and can be gone on from: {look.why_none(at_ms)}",
                    hint=first_hint(_first_ms(looks)),
                )
            seeds[str(look.task)] = look.record(manifest)
            begin |= look.inputs(manifest)
    return Beginning(seeds, begin)


def first_possible_ms(
    config: Config,
    plans: Iterable[FeedPlan],
    layout: ApplicationLayout,
    *,
    bounds: Mapping[TopicPartition, Bounds],
) -> int | None:
    """The first time by which each task has a snapshot that can be gone on from; None where one has
    none, or no repository is set. Raises RepositoryError."""
    if not config.snapshot_repository:
        return None
    with open_repository(config, config.snapshot_repository) as repository:
        return _first_ms(_looks(repository, plans, layout, bounds=bounds))


def first_hint(first_ms: int | None) -> str:
    """What to do where there is such a time, and where there is none."""
    if first_ms is None:
        return (
            "not every task has a snapshot behind which the input goes on: what it has lost cannot"
            " be computed again; streamer snapshot list shows which there are"
        )
    # A whole second, not before it: it is typed in as it stands.
    return f"the first time that will do is --from {moment(-(-first_ms // 1000) * 1000)}"


def _looks(
    repository: Repository,
    plans: Iterable[FeedPlan],
    layout: ApplicationLayout,
    *,
    bounds: Mapping[TopicPartition, Bounds],
    layout_max: int | None = None,
    is_current: bool = False,
) -> list[_Look]:
    """Of each task at the shelves of its layout and of those before it, the last one first."""
    plans = list(plans)
    shelves = defaultdict[TaskId, list[Shelf]](list)
    # Listed once: a repository in S3 answers for all of them at a time.
    for plan in plans[:1]:
        for shelf in sorted(repository.shelves(plan.application), key=lambda one: -one.layout):
            shelves[shelf.task].append(shelf)
    found = []
    for plan in plans:
        most = plan.source.layout if layout_max is None else layout_max
        least = plan.source.layout if is_current else 0
        for task in plan.tasks:
            own = [shelf for shelf in shelves[task] if least <= shelf.layout <= most]
            reads = read_by_task(layout, task)
            found.append(_Look(repository, plan, task, shelves=own, bounds=bounds, reads=reads))
    return found


def _first_ms(looks: Iterable[_Look]) -> int | None:
    firsts = [look.first_ms() for look in looks]
    return None if None in firsts else max(filter(None, firsts), default=None)


@dataclass(frozen=True, slots=True)
class _Look:
    """At the snapshots of one task, on these shelves."""

    repository: Repository
    plan: FeedPlan
    task: TaskId
    shelves: Collection[Shelf]
    bounds: Mapping[TopicPartition, Bounds]
    reads: Collection[TopicPartition]

    def newest(self, at_ms: int) -> Manifest | None:
        """That was made by then and can be gone on from."""
        made = (one for one in self._manifests() if one.created_ms <= at_ms)
        return next((one for one in made if not self._trouble(one)), None)

    def why_none(self, at_ms: int) -> str:
        """What is wrong with the newest that was made by then."""
        made = (one for one in self._manifests() if one.created_ms <= at_ms)
        return next(map(self._trouble, made), "there is none that old")

    def first_ms(self) -> int | None:
        """When the first was made that can be gone on from."""
        good = (one.created_ms for one in self._manifests() if not self._trouble(one))
        return min(good, default=None)

    def record(self, manifest: Manifest) -> SeedRecord:
        """With when it was made at the latest, by the repository's clock too."""
        shelf = next(one for one in self.shelves if one.layout == manifest.layout)
        stored_ms = stored_times(self.repository, shelf, time.time_ns() // 1_000_000)
        return SeedRecord(
            repository=self.repository.address,
            layout=manifest.layout,
            stem=manifest.stem,
            positions=self._positions(manifest),
            as_of_ms=min(manifest.created_ms, stored_ms.get(manifest.stem, manifest.created_ms)),
            bytes=manifest.size,
        )

    def _manifests(self) -> Iterator[Manifest]:
        """The newest layout first, and of each the newest first."""
        for shelf in self.shelves:
            yield from readable(shelf)

    def _positions(self, manifest: Manifest) -> dict[str, int]:
        """Where it stands in the changelogs of its layout, by store."""
        known = {one.topic: one.position for one in manifest.changelog}
        topics = {
            one.name: changelog_topic(self.plan.application, one.name, Layout(manifest.layout))
            for one in self.plan.stores
        }
        return {name: known[topic] for name, topic in topics.items() if topic in known}

    def inputs(self, manifest: Manifest) -> dict[TopicPartition, int]:
        known = {TopicPartition(one.topic, one.partition): one for one in manifest.input}
        return {place: known[place].position for place in self.reads}

    def _trouble(self, manifest: Manifest) -> str:
        """Why the input cannot be read on behind it; "" where it can."""
        kinds = {one.name: one.kind.value for one in self.plan.stores}
        if manifest.stores != kinds:
            return f"{manifest} has other stores"
        # A layout before this one may have had other tasks, of the same names.
        if {TopicPartition(one.topic, one.partition) for one in manifest.input} != set(self.reads):
            return f"{manifest} is of a task that read other partitions"
        at = self.inputs(manifest)
        for place in self.reads:
            bound = self.bounds[place]
            if (position := at[place]) < 0:
                return f"{manifest} does not say where it stands in {place}"
            if position < bound.start:
                return (
                    f"{manifest} stands at {position} of {place}, which begins at {bound.start} by"
                    " now"
                )
            if position > bound.end:
                return f"{manifest} stands at {position} of {place}, which ends at {bound.end}"
        return ""


def moment(time_ms: int) -> str:
    """A time in words, in whole seconds."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
