"""What a replay begins with other than the begin of its input: the snapshot of each task that was
made by a certain time, and from where on it reads.

Each task stands where its own snapshot does. That is one state of the application only where no
task reads what another one has sent, so others are refused (see request.py).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from streamer.config import Config
from streamer.errors import OperationRefusedError
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

__all__ = ["Beginning", "choose_beginning", "first_possible_ms", "moment", "read_by_task"]

_HINT = "streamer snapshot list shows which there are"


@dataclass(frozen=True, slots=True)
class Beginning:
    """The snapshots by task, and where each partition is read from."""

    seeds: Mapping[str, SeedRecord] = field(default_factory=dict)
    begin: Mapping[TopicPartition, int] = field(default_factory=dict)


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
) -> Beginning:
    """Of each task that keeps state the newest snapshot that was made at `at_ms` or before, by its
    maker's clock, in this layout or before. `bounds` are those of the input.

    Raises OperationRefusedError where a task has none from which can be gone on, with the time of
    the first that can be, and RepositoryError.
    """
    if not config.snapshot_repository:
        raise OperationRefusedError(
            "a replay from a time begins with snapshots, and no snapshot_repository is set",
            hint="name the repository of the workers' snapshots: --set snapshot_repository=...",
        )
    seeds: dict[str, SeedRecord] = {}
    begin: dict[TopicPartition, int] = {}
    with open_repository(config, config.snapshot_repository) as repository:
        for plan in plans:
            for task in plan.tasks:
                look = _Look(repository, plan, task, bounds, read_by_task(layout, task), layout_max)
                manifest, made_ms = look.newest(at_ms)
                seeds[str(task)] = SeedRecord(
                    repository=repository.address,
                    layout=manifest.layout,
                    stem=manifest.stem,
                    positions=look.positions(manifest),
                    as_of_ms=made_ms,
                    bytes=manifest.size,
                )
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
        firsts = [
            _Look(repository, plan, task, bounds, read_by_task(layout, task)).first_ms()
            for plan in plans
            for task in plan.tasks
        ]
    return None if None in firsts else max(filter(None, firsts), default=None)


@dataclass(frozen=True, slots=True)
class _Look:
    """At the snapshots of one task."""

    repository: Repository
    plan: FeedPlan
    task: TaskId
    bounds: Mapping[TopicPartition, Bounds]
    reads: Collection[TopicPartition]
    layout_max: int | None = None

    def newest(self, at_ms: int) -> tuple[Manifest, int]:
        """With when it was made at the latest, by the repository's clock too."""
        why, earliest = "", 0
        for shelf in self._shelves():
            stored_ms = stored_times(self.repository, shelf, time.time_ns() // 1_000_000)
            for manifest in readable(shelf):
                trouble = self._trouble(manifest)
                if not trouble and manifest.created_ms <= at_ms:
                    return manifest, min(
                        manifest.created_ms, stored_ms.get(manifest.stem, manifest.created_ms)
                    )
                if not trouble:
                    earliest = manifest.created_ms
                elif manifest.created_ms <= at_ms and not why:
                    why = trouble
        raise OperationRefusedError(
            f"task {self.task} has no snapshot in {self.repository.address} that was made by"
            f" {moment(at_ms)} and can be gone on from: {why or 'there is none that old'}",
            hint=f"the first that can is of {moment(earliest)}" if earliest else _HINT,
        )

    def first_ms(self) -> int | None:
        """When the first was made that can be gone on from."""
        made = (
            manifest.created_ms
            for shelf in self._shelves()
            for manifest in readable(shelf)
            if not self._trouble(manifest)
        )
        return min(made, default=None)

    def positions(self, manifest: Manifest) -> dict[str, int]:
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

    def _shelves(self) -> list[Shelf]:
        """Of this layout, and then of those before it, the last one first."""
        most = self.plan.source.layout if self.layout_max is None else self.layout_max
        found = [
            shelf
            for shelf in self.repository.shelves(self.plan.application)
            if shelf.task == self.task and shelf.layout <= most
        ]
        return sorted(found, key=lambda shelf: shelf.layout, reverse=True)

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
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
