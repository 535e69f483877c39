"""Putting a task together: states over its database, operators over its states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from streamer import metrics
from streamer.config import Config
from streamer.engine.compile import Compiler, resolve
from streamer.engine.pipeline import Pipeline
from streamer.engine.policy import Care, Failure, Policy
from streamer.engine.sink import Output
from streamer.engine.times import StreamTime
from streamer.ids import (
    FIRST_LAYOUT,
    Layout,
    TaskId,
    TopicPartition,
    changelog_topic,
    strays_topic,
)
from streamer.layout import ApplicationLayout
from streamer.record import Headers
from streamer.split.homes import Homes
from streamer.store.cache import KeyValueState
from streamer.store.closing import Closing
from streamer.store.expiry import Expiry
from streamer.store.rocks import TaskDatabase
from streamer.store.session import SessionState
from streamer.strays.quiet import Quiet
from streamer.task.crossing import Ahead, Crossing
from streamer.task.metadata import input_mark
from streamer.topology.aggregates import GoesOn
from streamer.topology.declared import named
from streamer.topology.graph import Aggregate, Sink, Source, Subtopology, Topology
from streamer.topology.interval import Interval
from streamer.topology.serde import Bytes, Typed
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["Plan", "changelogs", "grown_topics", "input_partitions", "internal_layouts"]


_NOTHING: Mapping[str, Callable[[bytes], bool]] = {}


def input_partitions(
    topology: Topology,
    task: TaskId,
    counts: Mapping[str, int],
    *,
    layout: ApplicationLayout | None = None,
) -> tuple[TopicPartition, ...]:
    """The partitions that a task reads: in each topic, every L-th from its own number on. Without a
    layout there is a task for each partition."""
    layout = layout or ApplicationLayout()
    subtopology = topology.subtopologies[task.subtopology]
    since = internal_layouts(topology, layout)
    names = [
        resolve(topology.application_id, source, topic, layout=since.get(topic, FIRST_LAYOUT))
        for source in subtopology.sources
        for topic in source.topics
    ]
    count = layout.task_count(task.subtopology) or max(counts[name] for name in names)
    # First, where times are equal: strays are from before.
    strays = [found for _topic, found in grown_topics(topology, task, layout)]
    return tuple(
        TopicPartition(name, partition)
        for name in (*strays, *names)
        for partition in range(task.partition, counts[name], count)
    )


def grown_topics(
    topology: Topology, task: TaskId, layout: ApplicationLayout
) -> list[tuple[str, str]]:
    """The topics that a task reads in which strays may be, each with its strays topic."""
    own = layout.subtopologies.get(task.subtopology)
    if own is None or own.mode != "grow":
        return []
    return [
        (topic, strays_topic(topology.application_id, topic, own.since))
        for source in topology.subtopologies[task.subtopology].sources
        if not source.is_internal
        for topic in source.topics
    ]


def internal_layouts(topology: Topology, layout: ApplicationLayout) -> dict[str, Layout]:
    """The layout whose number each repartition topic carries, by its short name: its reader's."""
    return {
        topic: layout.since(subtopology.number)
        for subtopology in topology.subtopologies
        for source in subtopology.sources
        if source.is_internal
        for topic in source.topics
    }


def changelogs(
    topology: Topology, task: TaskId, layout: ApplicationLayout | None = None
) -> dict[str, TopicPartition]:
    """The changelog partition of each of a task's stores."""
    subtopology = topology.subtopologies[task.subtopology]
    since = (layout or ApplicationLayout()).since(task.subtopology)
    return {
        spec.name: TopicPartition(
            changelog_topic(topology.application_id, spec.name, since), task.partition
        )
        for spec in subtopology.stores
    }


@dataclass(frozen=True, slots=True)
class Plan:
    """All that pipelines of one worker have in common. `recent_bytes` is for all of its tasks.
    `ahead` is there where topics were grown, and `limits` where another application is followed:
    up to where its partitions may be processed. By that one's id, the `lead`, a registry knows what
    both write for themselves. With an `interval` only its windows are computed."""

    topology: Topology
    config: Config
    output: Output
    wall_time_ms: Callable[[], int]
    recent_bytes: int
    care: Care = field(default_factory=Care)
    layout: ApplicationLayout = field(default_factory=ApplicationLayout)
    ahead: Ahead | None = None
    limits: Callable[[], Mapping[TopicPartition, int]] | None = None
    lead: str = ""
    interval: Interval | None = None

    def crossings(
        self,
        task: TaskId,
        positions: Mapping[TopicPartition, int],
        *,
        forwarded: Mapping[str, int],
        stray_ms: int,
        is_quiet: bool,
    ) -> tuple[Crossing, ...]:
        """How a task deals with strays, for each of its topics that were grown. `forwarded` is by
        marks of topics; the rest as `Metadata` has it."""
        made = []
        for topic, strays in grown_topics(self.topology, task, self.layout):
            assert self.ahead is not None
            own = self.layout.subtopologies[task.subtopology]
            source = TopicPartition(topic, task.partition)
            quiet = Quiet.begun(
                self.config.stray_quiet_ms,
                noted_ms=stray_ms,
                is_over=is_quiet,
                now_ms=self.wall_time_ms(),
            )
            crossing = Crossing(
                task,
                source,
                TopicPartition(strays, task.partition),
                homes=Homes(own.tasks, own.tasks, named(own.inputs[topic].partitioner)),
                forwarded=max(positions[source], forwarded.get(input_mark(topic), 0)),
                quiet=quiet,
                ahead=self.ahead,
                output=self.output,
            )
            made.append(crossing)
        return tuple(made)

    def pipeline(
        self,
        task: TaskId,
        database: TaskDatabase,
        *,
        stream_time_ms: int,
        times: Mapping[str, int],
        closings: Mapping[str, Closing],
        recent_bytes: int,
        passed: Mapping[str, Callable[[bytes], bool]] = _NOTHING,
    ) -> Pipeline:
        """A task's pipeline over its database. Runs `open` of the user's processors.

        `times` are the stream times of windowed aggregations by store, the task's where left out;
        `closings` are what a commit left to pass on, all else of what has closed was; `passed`
        tells rows of it that a parent of the task has passed on.
        """
        subtopology = self.topology.subtopologies[task.subtopology]
        states = self._states(subtopology, database, recent_bytes)
        compiler = Compiler(
            application_id=self.lead or self.topology.application_id,
            subtopology=subtopology,
            states=states,
            output=self.output,
            policy=self._policy(task),
            settings=self.config.schema_registry,
            drop=lambda reason, count: metrics.records_dropped.labels(str(task), reason).inc(count),
            task=str(task),
            wall_time_ms=self.wall_time_ms,
            times={
                node.store.name: StreamTime(times.get(node.store.name, stream_time_ms))
                for node in subtopology.nodes
                if isinstance(node, Aggregate) and node.windows is not None
            },
            closings=closings,
            passed=passed,
            place=self._place,
            is_replay=self.limits is not None,
            interval=self.interval,
        )
        expiries = {
            spec.name: Expiry(spec, database) for spec in subtopology.stores if _expires(spec)
        }
        return Pipeline(compiler, expiries=expiries, stream_time_ms=stream_time_ms)

    def _place(self, node: Source | Sink, topic: str) -> str:
        """The topic's name on the brokers, in this layout."""
        since = internal_layouts(self.topology, self.layout).get(topic, FIRST_LAYOUT)
        return resolve(self.topology.application_id, node, topic, layout=since)

    def _states(
        self, subtopology: Subtopology, database: TaskDatabase, recent_bytes: int
    ) -> dict[str, KeyValueState]:
        share = recent_bytes // max(len(subtopology.stores), 1)
        states: dict[str, KeyValueState] = {}
        for spec in subtopology.stores:
            # The name of layout 1, whatever the layout: what a registry knows a store's rows by
            # must not change under the rows.
            topic = changelog_topic(self.lead or self.topology.application_id, spec.name)
            key = spec.key.bind(topic, True, self.config.schema_registry)
            value = spec.value.bind(topic, False, self.config.schema_registry)
            if isinstance(value, Typed):
                value = value.stored(spec.name, fields=_computed(spec, subtopology))
            spec = replace(spec, key=key, value=value)
            kind = SessionState if spec.kind is StoreKind.SESSION else KeyValueState
            cell = value if _aggregates(spec, subtopology) else Bytes
            states[spec.name] = kind(spec, database, value=cell, recent_bytes_max=share)
        return states

    def _policy(self, task: TaskId) -> Policy:
        return Policy(
            task=str(task),
            processing=self.config.processing_error,
            deserialization=self.config.deserialization_error,
            production=self.config.production_error,
            dead_letter=lambda key, value, headers: self._dead_letter(task, key, value, headers),
            care=self.care,
            count=lambda failure: self._count(task, failure),
        )

    def _dead_letter(
        self, task: TaskId, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        now_ms = self.wall_time_ms()
        self.output.send(
            self.config.dead_letter_topic, [key], [value], timestamps=[now_ms], headers=[headers]
        )
        metrics.dead_letters.labels(str(task)).inc()

    def _count(self, task: TaskId, failure: Failure) -> None:
        metrics.errors.labels(str(task), failure.stage, failure.action).inc()


def _aggregates(spec: StoreSpec, subtopology: Subtopology) -> list[Aggregate]:
    """The aggregations of a store. Its open transaction holds objects for them; for others, bytes
    that are encoded where a row is written and decoded where it is read."""
    return [
        node
        for node in subtopology.nodes
        if isinstance(node, Aggregate) and node.store.name == spec.name
    ]


def _computed(spec: StoreSpec, subtopology: Subtopology) -> list[str] | None:
    """The results of built-in aggregates that go on with what they were: only those are looked at.
    None for a store of the user's functions, which may look at everything."""
    for node in _aggregates(spec, subtopology):
        if isinstance(node.aggregate, Mapping):
            return [name for name, one in node.aggregate.items() if isinstance(one, GoesOn)]
    return None


def _expires(spec: StoreSpec) -> bool:
    return spec.retention_ms is not None or spec.ttl_ms is not None
