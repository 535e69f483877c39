"""How many partitions every topic of an application has to have: a pure function of its input.

A subtopology has as many tasks as its widest topic has partitions. Where it keeps state, all its
topics must be co-partitioned, or records of one key would meet in different tasks. A repartition
topic has as many partitions as the widest topic before it, or as its readers beside it need.

A recorded layout says otherwise for the subtopologies whose state it was built for: so many tasks,
over topics that it names with their partitions. That is held against what is there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamer.errors import PartitionsChangedError, TopologyChangedError, TopologyError
from streamer.ids import (
    FIRST_LAYOUT,
    TaskId,
    changelog_topic,
    repartition_topic,
    strays_topic,
)
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.topology.declared import named
from streamer.topology.graph import Sink, Source, Subtopology, Topology

__all__ = ["Partitions", "external_topics", "partitions"]

# Java's, and what Streamer itself writes with.
_UNDECLARED = "murmur2"


@dataclass(frozen=True, slots=True)
class Partitions:
    """Counts by topic name on the broker, and the tasks that follow from them: all as `layout` has
    it, which lists every subtopology that reads. `repartition` has strays topics as well: the
    application sends itself both."""

    sources: Mapping[str, int]
    repartition: Mapping[str, int]
    changelogs: Mapping[str, int]
    tasks: tuple[TaskId, ...] = field(default=())
    layout: ApplicationLayout = field(default_factory=ApplicationLayout)

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


def partitions(
    topology: Topology, counts: Mapping[str, int], recorded: ApplicationLayout | None = None
) -> Partitions:
    """Count everything from the partition counts of the external topics that are read, and from the
    layout that is recorded, if any is.

    Raises TopologyError where topics that must be co-partitioned are not, TopologyChangedError and
    PartitionsChangedError where the record speaks of other topics, and TopologyError for a declared
    partitioner that cannot be found here.
    """
    internal = _repartition_counts(topology, counts, recorded)
    settled: dict[int, SubtopologyLayout] = {}
    for subtopology in topology.subtopologies:
        if not subtopology.sources:
            continue
        reads = _reads(topology.application_id, subtopology)
        found = recorded.subtopologies.get(subtopology.number) if recorded else None
        if found is None or found.is_first:
            _check_co_partitioned(subtopology, {**counts, **internal})
            settled[subtopology.number] = _first(subtopology, reads, counts, internal)
        else:
            settled[subtopology.number] = _later(subtopology, reads, counts, found)
    number = recorded.number if recorded else FIRST_LAYOUT
    layout = ApplicationLayout(number, settled).check()
    for one in layout.subtopologies.values():
        named(one.partitioner)
    return _counted(topology, layout)


class _Read(NamedTuple):
    """A topic that is read. `name` tells a repartition topic from the user's of the same name; it
    is that of layout 1, whatever the layout."""

    topic: str
    name: str
    is_internal: bool
    partitioner: str
    """What the code declares; "" where it declares nothing."""


def _reads(application_id: str, subtopology: Subtopology) -> list[_Read]:
    return [
        _Read(
            topic,
            repartition_topic(application_id, topic) if source.is_internal else topic,
            source.is_internal,
            source.partitioner,
        )
        for source in subtopology.sources
        for topic in source.topics
    ]


def _first(
    subtopology: Subtopology,
    reads: Sequence[_Read],
    counts: Mapping[str, int],
    internal: Mapping[str, int],
) -> SubtopologyLayout:
    """As it is where no layout was built for it: a task for each partition."""
    inputs = {
        one.name: InputLayout(
            internal[one.topic] if one.is_internal else counts[one.topic],
            one.partitioner or _UNDECLARED,
            one.is_internal,
        )
        for one in reads
    }
    width = max(one.partitions for one in inputs.values())
    return SubtopologyLayout(width, inputs=inputs, keeps_state=bool(subtopology.stores))


def _later(
    subtopology: Subtopology,
    reads: Sequence[_Read],
    counts: Mapping[str, int],
    found: SubtopologyLayout,
) -> SubtopologyLayout:
    """As a layout that was built for it has it. Code may add and remove inputs, as ever; topics
    that it still reads are as the record says."""
    keeps_state = bool(subtopology.stores)
    inputs: dict[str, InputLayout] = {}
    where = f"subtopology {subtopology.number} of layout {found.since}"
    if not found.inputs.keys() & {one.name for one in reads}:
        raise TopologyChangedError(
            f"{where} reads {', '.join(sorted(found.inputs))}, but this topology's reads"
            f" {', '.join(sorted(one.name for one in reads))}",
            hint="its state is of the former: bring the former order of the steps back, or begin"
            " anew under another application id. Nothing was changed",
        )
    for one in reads:
        told = found.inputs.get(one.name)
        width = found.tasks if one.is_internal else counts[one.topic]
        if keeps_state and told is not None and told.partitions != width:
            raise PartitionsChangedError(
                f"{where} was built for {one.name} with {told.partitions} partitions; it now has"
                f" {width}",
                hint="producers write keys to other partitions than their state is in: go back to"
                f" a topic with {told.partitions} partitions, or begin anew under another"
                " application id; nothing was changed",
            )
        # Its own topics are Streamer's to write.
        by = told.partitioner if told else _UNDECLARED if one.is_internal else found.partitioner
        if keeps_state and one.partitioner not in ("", by) and not _is_same(one.partitioner, by):
            raise TopologyChangedError(
                f"{where} has its keys where {by} puts those of {one.name}; the code declares"
                f" {one.partitioner}",
                hint="declare the former again, or nothing: state is where that has put it. A"
                " function that has moved keeps its former name where its former module has it,"
                " too. Nothing was changed",
            )
        inputs[one.name] = InputLayout(width, by, one.is_internal)
    return SubtopologyLayout(found.tasks, found.since, inputs, found.mode, keeps_state)


def _is_same(declared: str, recorded: str) -> bool:
    """Whether a function that has moved to another module is found under its former name."""
    return named(declared) is named(recorded)


def _counted(topology: Topology, layout: ApplicationLayout) -> Partitions:
    """The topics of a layout by their names on the broker."""
    name = topology.application_id
    sources: dict[str, int] = {}
    repartition: dict[str, int] = {}
    changelogs: dict[str, int] = {}
    for subtopology in topology.subtopologies:
        if subtopology.number not in layout.subtopologies:
            continue
        own = layout.subtopologies[subtopology.number]
        for read in _reads(name, subtopology):
            width = own.inputs[read.name].partitions
            if read.is_internal:
                repartition[repartition_topic(name, read.topic, own.since)] = width
            else:
                sources[read.topic] = width
                if own.mode == "grow":
                    repartition[strays_topic(name, read.topic, own.since)] = own.tasks
        for spec in subtopology.stores:
            changelogs[changelog_topic(name, spec.name, own.since)] = own.tasks
    return Partitions({**repartition, **sources}, repartition, changelogs, layout.tasks, layout)


def _check_co_partitioned(subtopology: Subtopology, known: Mapping[str, int]) -> None:
    widths = {topic: known[topic] for topic in subtopology.topics}
    if subtopology.stores and len(set(widths.values())) > 1:
        listed = ", ".join(f"{topic} has {count}" for topic, count in sorted(widths.items()))
        raise TopologyError(
            f"topics that share state must have equal numbers of partitions: {listed}",
            hint='bring one of them to the other\'s number: .repartition("name", partitions=N)',
        )


def _repartition_counts(
    topology: Topology, counts: Mapping[str, int], recorded: ApplicationLayout | None
) -> dict[str, int]:
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
    fixed = {topic for topic, (sink, _) in sinks.items() if sink.partitions is not None}
    return found | _as_recorded(topology, recorded, fixed)


def _as_recorded(
    topology: Topology, recorded: ApplicationLayout | None, fixed: Collection[str]
) -> dict[str, int]:
    """The widths of those that a recorded layout names, but for the ones that the code has `fixed`:
    what is before them may have been given other partitions since. Not of those that are joined
    with topics of others, which have to be as wide."""
    known = {
        name: one.partitions
        for part in (recorded.subtopologies.values() if recorded else ())
        for name, one in part.inputs.items()
        if one.is_internal
    }
    return {
        topic: known[name]
        for part in topology.subtopologies
        if not part.stores or all(source.is_internal for source in part.sources)
        for source in part.sources
        if source.is_internal
        for topic in source.topics
        if (name := repartition_topic(topology.application_id, topic)) in known
        and topic not in fixed
    }


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
