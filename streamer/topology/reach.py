"""Where the results of a step go on to, inside its subtopology. Pure."""

from __future__ import annotations

from streamer.topology.graph import Aggregate, Node, Process, Subtopology

__all__ = ["reaches_windows"]


def reaches_windows(node: Node, subtopology: Subtopology) -> bool:
    """Whether its results come to a windowed aggregation, which may find them late."""
    reached: set[int] = set()
    following = list(subtopology.children(node))
    while following:
        one = following.pop()
        if one.number in reached:
            continue
        if isinstance(one, Aggregate) and one.windows is not None:
            return True
        reached.add(one.number)
        following += subtopology.children(one)
        if isinstance(one, Process):
            # What it writes goes on from the store.
            following += [other for other in subtopology.nodes if _names(one) & _names(other)]
    return False


def _names(node: Node) -> set[str]:
    return {spec.name for spec in node.stores}
