"""An application beside the one that is live, which reads its topics once more. Pure.

It has an id, and so groups, changelogs and repartition topics of its own, and the same
subtopologies with the same stores. What it would write to topics of others goes nowhere, since
those who read there have the results already; or to topics beside them; or there all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from streamer.topology.graph import Node, Sink, Subtopology, Topology

__all__ = ["Outputs", "replayed", "side_topic"]

Outputs = Literal["off", "side", "on"]


def replayed(
    topology: Topology, application_id: str, *, outputs: Outputs = "off", operation: str = ""
) -> Topology:
    """The topology under another id, with its outputs as they are for this operation."""
    return Topology(
        application_id,
        tuple(
            Subtopology(one.number, tuple(_nodes(one, outputs, operation)))
            for one in topology.subtopologies
        ),
    )


def side_topic(topic: str, operation: str) -> str:
    """Where an operation writes the results that go to a topic."""
    return f"{topic}.{operation}"


def _nodes(one: Subtopology, outputs: Outputs, operation: str) -> Iterator[Node]:
    for node in one.nodes:
        if not isinstance(node, Sink) or node.is_internal or outputs == "on":
            yield node
        elif outputs == "side":
            # No node has a sink as its parent.
            yield replace(node, topic=side_topic(node.topic, operation))
