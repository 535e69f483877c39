"""Refuses a stream that is written to the topic it is read from: each record would make another.

A loop whose records may be dropped on the way, by a filter, a branch, an inner join or user code,
as where records are tried again, is the user's own business. So is not a changelog of the
application as a topic of its own: its records are rows of a store, and trimmed as such.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer.errors import TopologyError
from streamer.ids import is_changelog_of
from streamer.topology.graph import (
    Aggregate,
    Join,
    Merge,
    Node,
    Sink,
    Source,
    Stateless,
    Topology,
)

__all__ = ["check_loops", "check_own_topics"]

_MAY_DROP = ("filter", "flat_map", "flat_map_values", "table_view")


def check_loops(nodes: Sequence[Node]) -> None:
    """Raise TopologyError for a loop without an end."""
    for source in nodes:
        if isinstance(source, Source) and not source.is_internal:
            for sink in _certain_sinks(source, nodes):
                if not sink.is_internal and sink.topic in source.topics:
                    raise TopologyError(
                        f"topic {sink.topic!r} is written with every record that is read from it:"
                        " a loop without an end",
                        hint="write to another topic, or filter what goes back",
                    )


def check_own_topics(topology: Topology, nodes: Sequence[Node]) -> None:
    """Raise TopologyError for a step that reads or writes a changelog of the application."""
    for node in nodes:
        if not isinstance(node, Source | Sink) or node.is_internal:
            continue
        for topic in node.topics if isinstance(node, Source) else (node.topic,):
            for spec in topology.stores:
                if is_changelog_of(topic, topology.application_id, spec.name):
                    raise TopologyError(
                        f"topic {topic!r} is the changelog of this application's store"
                        f" {spec.name!r}, and none of its streams'",
                        hint="its changes are those of the table, table.stream(); to have them in"
                        " a topic write them to one of your own: table.to(topic)",
                    )


def _certain_sinks(source: Source, nodes: Sequence[Node]) -> list[Sink]:
    """The sinks that every record of the source reaches."""
    reached: set[int] = {source.number}
    sinks: list[Sink] = []
    for node in nodes:  # in topological order, repartition topics included
        is_behind = any(parent.number in reached for parent in node.parents)
        if isinstance(node, Source) and node.is_internal:
            is_behind = any(sink.is_internal and sink.topic in node.topics for sink in sinks)
        if not is_behind or not _passes_on(node):
            continue
        reached.add(node.number)
        if isinstance(node, Sink):
            sinks.append(node)
    return sinks


def _passes_on(node: Node) -> bool:
    match node:
        case Sink() | Source() | Merge():
            return True
        case Aggregate(windows=windows):
            return windows is None
        case Join(is_left=is_left):
            return is_left
        case Stateless(operation=operation):
            return operation not in _MAY_DROP
    return node.kind == "table"
