"""How many partitions every topic of an application has to have: a pure function of its input.

A subtopology has as many tasks as its widest topic has partitions. Where it keeps state, all its
topics must be co-partitioned, or records of one key would meet in different tasks. A repartition
topic has as many partitions as the widest topic before it, or as its readers beside it need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamer.errors import TopologyError
from streamer.ids import TaskId, changelog_topic, repartition_topic
from streamer.topology.graph import Sink, Source, Subtopology, Topology

__all__ = ["Partitions", "external_topics", "partitions"]


@dataclass(frozen=True, slots=True)
class Partitions:
    """Counts by topic name on the broker, and the tasks that follow from them."""

    sources: Mapping[str, int]
    repartition: Mapping[str, int]
    changelogs: Mapping[str, int]
    tasks: tuple[TaskId, ...] = field(default=())

    @property
    def internal(self) -> dict[str, int]:
        return {**self.repartition, **self.changelogs}

    def task_count(self, subtopology: int) -> int:
        return sum(1 for task in self.tasks if task.subtopology == subtopology)


def external_topics(topology: Topology) -> tuple[list[str], list[str]]:
    """(topics that are read, topics that are written), without internal ones."""
    read = [
        topic
        for subtopology in topology.subtopologies
        for source in subtopology.sources
        if not source.is_internal
        for topic in source.topics
    ]
    written = {
        sink.topic
        for subtopology in topology.subtopologies
        for sink in subtopology.sinks
        if not sink.is_internal
    }
    return read, sorted(written)


def partitions(topology: Topology, counts: Mapping[str, int]) -> Partitions:
    """Count everything from the partition counts of the external topics that are read.

    Raises TopologyError where topics that must be co-partitioned are not.
    """
    internal = _repartition_counts(topology, counts)
    name = topology.application_id
    repartition = {repartition_topic(name, topic): count for topic, count in internal.items()}
    sources: dict[str, int] = dict(repartition)
    changelogs: dict[str, int] = {}
    tasks: list[TaskId] = []
    for subtopology in topology.subtopologies:
        if not subtopology.sources:
            continue
        known = {**counts, **internal}
        for source in subtopology.sources:
            if not source.is_internal:
                sources.update({topic: counts[topic] for topic in source.topics})
        width = max(known[topic] for topic in subtopology.topics)
        _check_co_partitioned(subtopology, known)
        tasks += [TaskId(subtopology.number, partition) for partition in range(width)]
        changelogs.update({changelog_topic(name, spec.name): width for spec in subtopology.stores})
    return Partitions(sources, repartition, changelogs, tuple(tasks))


def _check_co_partitioned(subtopology: Subtopology, known: Mapping[str, int]) -> None:
    widths = {topic: known[topic] for topic in subtopology.topics}
    if subtopology.stores and len(set(widths.values())) > 1:
        listed = ", ".join(f"{topic} has {count}" for topic, count in sorted(widths.items()))
        raise TopologyError(
            f"topics that share state must have equal numbers of partitions: {listed}",
            hint='bring one of them to the other\'s number: .repartition("name", partitions=N)',
        )


def _repartition_counts(topology: Topology, counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of repartition topics, by their short names; resolved until nothing changes."""
    sinks = {
        sink.topic: (sink, subtopology)
        for subtopology in topology.subtopologies
        for sink in subtopology.sinks
        if sink.is_internal
    }
    found = {
        topic: sink.partitions for topic, (sink, _) in sinks.items() if sink.partitions is not None
    }
    for subtopology in topology.subtopologies:
        _adopt_fixed(subtopology, sinks, counts, found)
    while len(found) < len(sinks):
        before = len(found)
        for topic, (_sink, subtopology) in sinks.items():
            known = {**counts, **found}
            if topic not in found and all(name in known for name in subtopology.topics):
                found[topic] = max(known[name] for name in subtopology.topics)
        if len(found) == before:
            left = sorted(set(sinks) - set(found))
            raise TopologyError(
                f"repartition topics {left} feed each other, so their size cannot be told",
                hint='give one of them: .repartition("name", partitions=N)',
            )
    return found


def _adopt_fixed(
    subtopology: Subtopology,
    sinks: Mapping[str, tuple[Sink, Subtopology]],
    counts: Mapping[str, int],
    found: dict[str, int],
) -> None:
    """A repartition topic that is joined with an external one takes its size."""
    internal: list[Source] = [one for one in subtopology.sources if one.is_internal]
    external = [
        counts[topic] for one in subtopology.sources if not one.is_internal for topic in one.topics
    ]
    if not external or not subtopology.stores:
        return
    for source in internal:
        for topic in source.topics:
            if topic in sinks:
                found.setdefault(topic, max(external))
