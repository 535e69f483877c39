"""A topology as a layout has it that reads topics of others by way of topics of its own. Pure.

    purchases ──> ingress ──> <application>-purchases-routed-repartition ──> the subtopology

The ingress is a subtopology of its own, without state, which stands behind those of the code. It
takes records over as they are, and only it writes there, so the subtopology has any number of
tasks, whatever the topic has, and whatever partitioner its producers have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from streamer.errors import TopologyError
from streamer.ids import routed_name
from streamer.layout import ApplicationLayout
from streamer.topology.graph import Node, Sink, Source, Subtopology, Topology
from streamer.topology.serde import Bytes

__all__ = ["routed"]


def routed(topology: Topology, layout: ApplicationLayout | None) -> Topology:
    """The topology with what the layout's mode `routed` puts before its subtopologies; itself where
    there is none, and where that was done before.

    Raises TopologyError where the code has a topic of its own of such a name.
    """
    known = {} if layout is None else layout.subtopologies
    changed, topics = list(topology.subtopologies), list[str]()
    for number, one in enumerate(topology.subtopologies):
        if number in known and known[number].mode == "routed" and (found := _external(one)):
            changed[number] = _reading_own(one)
            topics += found
    if not topics:
        return topology
    # In the order in which they came, so that each keeps its number.
    recorded = {topic: number for number, one in known.items() for topic in one.external}
    topics.sort(key=lambda topic: (recorded.get(topic, len(known)), topic))
    taken = topology.internal_sources
    if twice := sorted(routed_name(topic) for topic in topics if routed_name(topic) in taken):
        raise TopologyError(
            f"repartition {twice[0]!r} has the name of the topic by which layout"
            f" {0 if layout is None else layout.number} takes records over",
            hint="give yours another name",
        )
    numbers = count(1 + max(node.number for one in changed for node in one.nodes))
    ingress = [
        Subtopology(number, tuple(_ingress(topic, numbers)))
        for number, topic in enumerate(topics, start=len(changed))
    ]
    return Topology(topology.application_id, (*changed, *ingress))


def _external(one: Subtopology) -> list[str]:
    """The topics of others that it reads."""
    return [topic for source in one.sources if not source.is_internal for topic in source.topics]


def _reading_own(one: Subtopology) -> Subtopology:
    """The same steps, behind topics of the application's own."""
    made: dict[int, Node] = {}
    for node in one.nodes:
        same = replace(node, parents=tuple(made[id(each)] for each in node.parents))
        if isinstance(same, Source) and not same.is_internal:
            topics = tuple(map(routed_name, same.topics))
            same = replace(same, topics=topics, is_internal=True, partitioner="")
        made[id(node)] = same
    return Subtopology(one.number, tuple(made.values()))


def _ingress(topic: str, numbers: Iterator[int]) -> Iterator[Node]:
    source = Source(number=next(numbers), topics=(topic,), key=Bytes, value=Bytes)
    yield source
    yield Sink(
        number=next(numbers),
        parents=(source,),
        topic=routed_name(topic),
        key=Bytes,
        value=Bytes,
        is_internal=True,
    )
