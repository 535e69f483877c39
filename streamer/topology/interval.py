"""An interval of a replay: the windows that begin in it are computed once more, and nothing else.

That is well defined for windows that come of records alone, and of which nothing else is made: then
those of an interval can take the place of the ones that were there, between rows that stay. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from streamer.errors import OperationRefusedError
from streamer.topology.graph import (
    Aggregate,
    Arm,
    Branch,
    Merge,
    Node,
    Sink,
    Source,
    Stateless,
    Subtopology,
    Topology,
)
from streamer.topology.windows import SessionWindows

__all__ = ["Interval", "concerned", "replaced_stores", "stands_alone"]

_PASSING = (Stateless, Merge, Branch, Arm)


@dataclass(frozen=True, slots=True)
class Interval:
    """The windows of `stores` that start at `from_ms` or later and before `to_ms`, in ms since
    1970."""

    from_ms: int
    to_ms: int
    stores: tuple[str, ...]

    def has(self, start_ms: int) -> bool:
        return self.from_ms <= start_ms < self.to_ms


def stands_alone(node: Aggregate, one: Subtopology) -> bool:
    """Whether its windows come of records alone, and nothing but results of them."""
    if node.stands_alone is not None:
        return node.stands_alone
    if node.windows is None or isinstance(node.windows, SessionWindows) or node.emit == "final":
        return False
    shares = [other for other in one.nodes if other is not node and node.store in other.stores]
    return (
        not shares
        and all(isinstance(each, (Source, *_PASSING)) for each in _behind(node, one, "parents"))
        and all(
            isinstance(each, _PASSING) or (isinstance(each, Sink) and not each.is_internal)
            for each in _behind(node, one, "children")
        )
    )


def replaced_stores(topology: Topology, names: Sequence[str] = ()) -> tuple[str, ...]:
    """The stores whose windows an interval replaces: all that can be, or those of these names.

    Raises OperationRefusedError where there is none, and for one of which an interval is not well
    defined.
    """
    found = {
        node.store.name: stands_alone(node, one)
        for one in topology.subtopologies
        for node in one.nodes
        if isinstance(node, Aggregate)
    }
    known = {spec.name for spec in topology.stores}
    for name in names:
        if name not in known:
            raise OperationRefusedError(
                f"there is no store {name}", hint=f"its stores are {', '.join(sorted(known))}"
            )
        if not found.get(name):
            raise OperationRefusedError(
                f"an interval of store {name} is not well defined: it needs tumbling or hopping"
                " windows, which come of records alone, and of which nothing but results is made",
                hint="compute it from a time on, up to now: leave out the end of the interval",
            )
    if alone := tuple(sorted(name for name, is_alone in found.items() if is_alone)):
        return tuple(sorted(set(names))) or alone
    raise OperationRefusedError(
        "no store of the application has windows of which an interval is well defined: tumbling or"
        " hopping ones, which come of records alone, and of which nothing but results is made",
        hint="compute it from a time on, up to now: leave out the end of the interval",
    )


def concerned(one: Subtopology, stores: Collection[str]) -> set[int]:
    """The numbers of nodes whose records come to such a store, and of those behind it."""
    found: set[int] = set()
    for node in one.nodes:
        if isinstance(node, Aggregate) and node.store.name in stores:
            found.add(node.number)
            for way in ("parents", "children"):
                found |= {each.number for each in _behind(node, one, way)}
    return found


def _behind(node: Node, one: Subtopology, way: str) -> Iterator[Node]:
    """All that is before a node, or after it."""
    waiting, seen = [node], {node.number}
    while waiting:
        current = waiting.pop()
        for each in current.parents if way == "parents" else one.children(current):
            if each.number not in seen:
                seen.add(each.number)
                waiting.append(each)
                yield each
