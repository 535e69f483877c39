"""The nodes that a user's calls make, and their division into subtopologies.

Records flow along parents -> children. Nodes tied by an edge or by a shared store form one
subtopology; a repartition topic (a sink and a source of the same internal topic) is where one ends
and the next begins. Subtopologies are numbered in the order in which their first node was made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from streamer.errors import TopologyError
from streamer.ids import check_store_name
from streamer.topology.aggregates import BuiltIn, Fold, Reduce
from streamer.topology.serde import Serde
from streamer.topology.stores import StoreSpec
from streamer.topology.windows import Windows

__all__ = [
    "Aggregate",
    "Arm",
    "Branch",
    "Emit",
    "Graph",
    "Join",
    "Merge",
    "Node",
    "Process",
    "Sink",
    "Source",
    "Stateless",
    "Subtopology",
    "TableUpdate",
    "Topology",
]

Emit = Literal["commit", "every", "final"]


@dataclass(eq=False, kw_only=True)
class Node:
    """One step of the topology; `number` orders nodes by creation."""

    number: int
    parents: tuple[Node, ...] = ()

    kind = "node"

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def stores(self) -> Sequence[StoreSpec]:
        return ()


@dataclass(eq=False, kw_only=True)
class Source(Node):
    """Reads topics. An internal source reads a repartition topic, which has one name only.
    `partitioner` is what was declared for the topics of others; "" where nothing was."""

    topics: tuple[str, ...]
    key: Serde[Any]
    value: Serde[Any]
    is_internal: bool = False
    partitioner: str = ""
    kind = "source"


@dataclass(eq=False, kw_only=True)
class Stateless(Node):
    """filter, map, map_values, flat_map, flat_map_values, select_key and peek."""

    operation: str
    function: Callable[..., Any]

    @property
    def name(self) -> str:
        return f"{self.operation}-{self.number}"


@dataclass(eq=False, kw_only=True)
class Merge(Node):
    kind = "merge"


@dataclass(eq=False, kw_only=True)
class Branch(Node):
    """Sends each record to the first arm whose predicate holds; without one it is dropped."""

    predicates: tuple[Callable[[Any, Any], bool], ...]
    kind = "branch"


@dataclass(eq=False, kw_only=True)
class Arm(Node):
    index: int
    kind = "arm"


@dataclass(eq=False, kw_only=True)
class Aggregate(Node):
    """`value` is the serde of the results, `input` that of the values which are aggregated, where
    their type is known. `stands_alone` was told where the graph is not whole (`interval.py`)."""

    store: StoreSpec
    aggregate: Fold | Reduce | Mapping[str, BuiltIn]
    value: Serde[Any]
    input: Serde[Any] | None = None
    windows: Windows | None = None
    emit: Emit = "commit"
    stands_alone: bool | None = None
    kind = "aggregate"

    @property
    def stores(self) -> Sequence[StoreSpec]:
        return (self.store,)


@dataclass(eq=False, kw_only=True)
class TableUpdate(Node):
    """Writes a topic's records into a store as the newest value of each key."""

    store: StoreSpec
    kind = "table"

    @property
    def stores(self) -> Sequence[StoreSpec]:
        return (self.store,)


@dataclass(eq=False, kw_only=True)
class Join(Node):
    """Stream-table join: looks the record's key up in the table as it stands at that record.

    `view` turns a stored value into what the table shows (its filters and map_values).
    """

    table: StoreSpec
    view: Callable[[Any, Any], Any] | None
    joiner: Callable[[Any, Any], Any]
    is_left: bool = False
    kind = "join"

    @property
    def stores(self) -> Sequence[StoreSpec]:
        return (self.table,)


@dataclass(eq=False, kw_only=True)
class Process(Node):
    """User code with stores, punctuation and full records: the Processor API."""

    processor: Any
    used: tuple[StoreSpec, ...] = ()
    kind = "process"

    @property
    def stores(self) -> Sequence[StoreSpec]:
        return self.used


@dataclass(eq=False, kw_only=True)
class Sink(Node):
    """Writes to a topic. `partition` chooses one: `(key, value, count) -> int`."""

    topic: str
    key: Serde[Any]
    value: Serde[Any]
    partition: Callable[[Any, Any, int], int] | None = None
    is_internal: bool = False
    partitions: int | None = None
    kind = "sink"


@dataclass(frozen=True, slots=True)
class Subtopology:
    """Nodes in creation order, which is also a topological order."""

    number: int
    nodes: tuple[Node, ...]

    @property
    def sources(self) -> list[Source]:
        return [node for node in self.nodes if isinstance(node, Source)]

    @property
    def sinks(self) -> list[Sink]:
        return [node for node in self.nodes if isinstance(node, Sink)]

    @property
    def topics(self) -> list[str]:
        return [topic for source in self.sources for topic in source.topics]

    @property
    def stores(self) -> list[StoreSpec]:
        found: dict[str, StoreSpec] = {}
        for node in self.nodes:
            for spec in node.stores:
                found.setdefault(spec.name, spec)
        return list(found.values())

    def children(self, node: Node) -> list[Node]:
        return [other for other in self.nodes if node in other.parents]

    @property
    def placed(self) -> dict[str, str]:
        """By topic that is read, the partitioner that is declared."""
        return {
            topic: source.partitioner
            for source in self.sources
            if source.partitioner
            for topic in source.topics
        }


@dataclass(frozen=True, slots=True)
class Topology:
    application_id: str
    subtopologies: tuple[Subtopology, ...]

    def subtopology_of_store(self, store: str) -> Subtopology:
        for subtopology in self.subtopologies:
            if any(spec.name == store for spec in subtopology.stores):
                return subtopology
        raise TopologyError(
            f"application {self.application_id!r} has no store {store!r}",
            hint="its stores: " + ", ".join(spec.name for spec in self.stores),
        )

    @property
    def stores(self) -> list[StoreSpec]:
        return [spec for subtopology in self.subtopologies for spec in subtopology.stores]

    @property
    def placed(self) -> dict[str, str]:
        """By topic that is read, the partitioner that is declared."""
        return {
            topic: by
            for subtopology in self.subtopologies
            for topic, by in subtopology.placed.items()
        }

    @property
    def internal_sources(self) -> set[str]:
        return {
            topic
            for subtopology in self.subtopologies
            for source in subtopology.sources
            if source.is_internal
            for topic in source.topics
        }


@dataclass(slots=True)
class Graph:
    """Collects the nodes of one App and refuses what could not run."""

    application_id: str
    nodes: list[Node] = field(default_factory=list)
    _stores: dict[str, StoreSpec] = field(default_factory=dict)
    _topics: set[str] = field(default_factory=set)
    _internal: set[str] = field(default_factory=set)

    def next_number(self) -> int:
        return len(self.nodes)

    def add(self, node: Node) -> None:
        if isinstance(node, Source):
            self._claim_topics(node.topics)
        self.nodes.append(node)

    def add_repartition(self, sink: Sink, source: Source) -> None:
        """A sink and a source of one internal topic. Raises TopologyError if its name is taken."""
        count = sink.partitions
        if count is not None and (not isinstance(count, int) or count < 1):
            raise TopologyError(
                f"repartition {sink.topic!r} cannot have {count!r} partitions",
                hint="partitions= is a number of 1 or more; left out, as many as are read",
            )
        if sink.topic in self._internal:
            raise TopologyError(
                f"repartition {sink.topic!r} is used twice",
                hint="give each a name of its own: repartition(name), group_by(..., name=...)",
            )
        self._internal.add(check_store_name(sink.topic))
        self.nodes += [sink, source]

    def claim_store(self, spec: StoreSpec) -> StoreSpec:
        """Register a store under its name, once."""
        if spec.name in self._stores:
            raise TopologyError(
                f"store {spec.name!r} is used twice",
                hint="each aggregation and table needs a store name of its own; to share a store"
                " between two process() steps pass the same Store object to both",
            )
        self._stores[spec.name] = spec
        return spec

    def share_store(self, spec: StoreSpec) -> StoreSpec:
        """Register a store that several `process` steps may name alike."""
        known = self._stores.get(spec.name)
        if known is None:
            return self.claim_store(spec)
        one, other = _shown(known), _shown(spec)
        different = [name for name in one if one[name] != other[name]]
        if different:
            raise TopologyError(
                f"store {spec.name!r} is declared twice, and not alike: "
                + "; ".join(f"{name} {one[name]} and {other[name]}" for name in different),
                hint="pass the same Store object to both steps; the store of a table or an"
                f" aggregation is Store({spec.name!r}), without types",
            )
        return known

    def find_store(self, name: str) -> StoreSpec | None:
        return self._stores.get(name)

    def _claim_topics(self, topics: Sequence[str]) -> None:
        for topic in topics:
            if topic in self._topics:
                raise TopologyError(
                    f"topic {topic!r} is read twice",
                    hint="call app.stream(...) once and use the stream it returns several times",
                )
            self._topics.add(topic)

    def build(self) -> Topology:
        """The topology as it stands. Raises TopologyError when it reads nothing."""
        if not any(isinstance(node, Source) for node in self.nodes):
            raise TopologyError(
                f"application {self.application_id!r} reads no topic",
                hint="add app.stream(...) or app.table(...)",
            )
        self._check_written()
        groups = _components(self.nodes)
        subtopologies = tuple(
            Subtopology(number, tuple(group)) for number, group in enumerate(groups)
        )
        return Topology(self.application_id, subtopologies)

    def _check_written(self) -> None:
        """Raise TopologyError for a topic that the application reads and writes in two ways."""
        placed = {
            topic: node.partitioner
            for node in self.nodes
            if isinstance(node, Source) and node.partitioner not in ("", "murmur2")
            for topic in node.topics
        }
        # A topic of the application's own may have the short name of one of others.
        sinks = [one for one in self.nodes if isinstance(one, Sink) and not one.is_internal]
        for sink in sinks:
            if sink.partition is None and sink.topic in placed:
                raise TopologyError(
                    f"topic {sink.topic!r} is read as one whose keys {placed[sink.topic]} places,"
                    " and written by murmur2",
                    hint="choose its partitions where it is written, too: to(..., partition=...)",
                )


def _shown(spec: StoreSpec) -> dict[str, object]:
    """What must be alike where a store is declared twice."""
    return {
        "kind": spec.kind.value,
        "keys": spec.key.name,
        "values": spec.value.name,
        "ttl_ms": spec.ttl_ms,
        "size_ms": spec.window_size_ms,
        "retention_ms": spec.retention_ms,
        "rocksdb": dict(spec.rocksdb),
        "partition_key": spec.partition_key,
    }


def _components(nodes: Sequence[Node]) -> list[list[Node]]:
    leader = list(range(len(nodes)))

    def find(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    def union(one: int, other: int) -> None:
        first, second = sorted((find(one), find(other)))
        leader[second] = first

    by_store: dict[str, int] = {}
    for node in nodes:
        for parent in node.parents:
            union(node.number, parent.number)
        for spec in node.stores:
            union(by_store.setdefault(spec.name, node.number), node.number)
    groups: dict[int, list[Node]] = {}
    for node in nodes:
        groups.setdefault(find(node.number), []).append(node)
    return list(groups.values())
