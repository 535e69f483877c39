"""`Stream`: a sequence of records, and what can be done with each of them.

Every method adds a node to the application's graph and returns what comes out of it. The functions
given are plain: they take keys and values, and may be tested alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, get_type_hints

from streamer.errors import TopologyError
from streamer.ids import check_topic
from streamer.topology.calls import check_call, check_processor
from streamer.topology.graph import (
    Arm,
    Branch,
    Graph,
    Join,
    Merge,
    Node,
    Process,
    Sink,
    Source,
    Stateless,
)
from streamer.topology.serde import Bytes, Json, Serde, Utf8, serde_of
from streamer.topology.stores import Store, StoreSpec, WindowStore, check_known, given_stores
from streamer.topology.windowed_serde import outgoing_key

if TYPE_CHECKING:
    from streamer.topology.grouped import GroupedStream
    from streamer.topology.table import Table

__all__ = ["Stream"]

Predicate = Callable[[Any, Any], bool]


class Stream:
    """Records of one key and one value type. Made by `App.stream` and by its own methods."""

    def __init__(
        self,
        graph: Graph,
        node: Node,
        *,
        key: Serde[Any] | None,
        value: Serde[Any] | None,
        is_rekeyed: bool = False,
    ) -> None:
        self._graph = graph
        self._node = node
        self._key = key
        self._value = value
        self._is_rekeyed = is_rekeyed

    # -- one record at a time ---------------------------------------------------------------

    def filter(self, predicate: Predicate) -> Stream:
        """Keep the records for which `predicate(key, value)` holds."""
        return self._stateless("filter", predicate, value=self._value)

    def map_values(self, function: Callable[[Any], Any], *, value: Any = None) -> Stream:
        """Replace each value by `function(value)`; the key and the partition stay.

        `value` is the new type, where the function's annotation does not tell it.
        """
        return self._stateless("map_values", function, value=_result(function, value))

    def flat_map_values(
        self, function: Callable[[Any], Iterable[Any]], *, value: Any = None
    ) -> Stream:
        """Replace each record by one per value of `function(value)`, under the same key."""
        return self._stateless("flat_map_values", function, value=_explicit(value))

    def map(
        self,
        function: Callable[[Any, Any], tuple[Any, Any]],
        *,
        key: Any = None,
        value: Any = None,
    ) -> Stream:
        """Replace each record by the `(key, value)` that `function(key, value)` returns."""
        return self._rekeyed("map", function, key=_explicit(key), value=_explicit(value))

    def flat_map(
        self,
        function: Callable[[Any, Any], Iterable[tuple[Any, Any]]],
        *,
        key: Any = None,
        value: Any = None,
    ) -> Stream:
        """Replace each record by any number of `(key, value)` pairs."""
        return self._rekeyed("flat_map", function, key=_explicit(key), value=_explicit(value))

    def select_key(self, function: Callable[[Any, Any], Any], *, key: Any = None) -> Stream:
        """Give each record the key that `function(key, value)` returns."""
        key_serde = _result(function, key)
        return self._rekeyed("select_key", function, key=key_serde, value=self._value)

    def peek(self, function: Callable[[Any, Any], Any]) -> Stream:
        """Call `function(key, value)` for its side effect, which may happen again after a crash."""
        return self._stateless("peek", function, value=self._value)

    # -- several streams ---------------------------------------------------------------------

    def merge(self, *others: Stream) -> Stream:
        """All records of these streams, those of one source in their order."""
        _check_merged(self, others)
        parents = (self._node, *(other._node for other in others))
        node = Merge(number=self._graph.next_number(), parents=parents)
        self._graph.add(node)
        same_value = all(_alike(other._value, self._value) for other in others)
        same_key = all(_alike(other._key, self._key) for other in others)
        return Stream(
            self._graph,
            node,
            key=self._key if same_key else None,
            value=self._value if same_value else None,
            is_rekeyed=self._is_rekeyed or any(other._is_rekeyed for other in others),
        )

    def branch(self, *predicates: Predicate) -> list[Stream]:
        """Split: each record goes to the first stream whose `predicate(key, value)` holds.

        Records for which none holds are dropped; end with `lambda key, value: True` to keep them.
        """
        if not predicates:
            raise TopologyError("branch() needs at least one predicate")
        _check_predicates(predicates)
        branch = Branch(
            number=self._graph.next_number(), parents=(self._node,), predicates=predicates
        )
        self._graph.add(branch)
        arms = []
        for index in range(len(predicates)):
            arm = Arm(number=self._graph.next_number(), parents=(branch,), index=index)
            self._graph.add(arm)
            arms.append(self._next(arm, key=self._key, value=self._value))
        return arms

    # -- by key ------------------------------------------------------------------------------

    def group_by_key(self, *, name: str | None = None) -> GroupedStream:
        """Group by the record key. After the key was changed this goes through a repartition
        topic, called after `name` or the store that follows."""
        from streamer.topology.grouped import GroupedStream

        return GroupedStream(self, name=name)

    def group_by(
        self, function: Callable[[Any, Any], Any], *, key: Any = None, name: str | None = None
    ) -> GroupedStream:
        """Group by `function(key, value)`, through a repartition topic."""
        return self.select_key(function, key=key).group_by_key(name=name)

    def repartition(
        self, name: str, *, partitions: int | None = None, key: Any = None, value: Any = None
    ) -> Stream:
        """Write to the application's topic `<application>-<name>-repartition` and read it back,
        so that records of one key meet in one task."""
        key_serde = outgoing_key(self._key, _explicit(key)) or _untyped()
        value_serde = _explicit(value) or self._value or _untyped()
        sink = Sink(
            number=self._graph.next_number(),
            parents=(self._node,),
            topic=name,
            key=key_serde,
            value=value_serde,
            is_internal=True,
            partitions=partitions,
        )
        source = Source(
            number=sink.number + 1,
            topics=(name,),
            key=key_serde,
            value=value_serde,
            is_internal=True,
        )
        self._graph.add_repartition(sink, source)
        return Stream(self._graph, source, key=key_serde, value=value_serde)

    def join(self, table: Table, joiner: Callable[[Any, Any], Any], *, value: Any = None) -> Stream:
        """Combine each record with the table's value of its key: `joiner(value, table_value)`.

        Records whose key the table lacks are dropped; `left_join` keeps them, with None.
        """
        return _joined(self, table, joiner, value=value, is_left=False)

    def left_join(
        self, table: Table, joiner: Callable[[Any, Any], Any], *, value: Any = None
    ) -> Stream:
        """As `join`, and calls `joiner(value, None)` where the table lacks the key."""
        return _joined(self, table, joiner, value=value, is_left=True)

    # -- ends and user code ------------------------------------------------------------------

    def to(
        self,
        topic: str,
        *,
        key: Any = None,
        value: Any = None,
        partition: Callable[[Any, Any, int], int] | None = None,
    ) -> None:
        """Write to a topic. `partition(key, value, count)` chooses; by default Kafka's murmur2."""
        if partition is not None:
            check_call("to(partition=)", partition, "key", "value", "count")
        self._graph.add(
            Sink(
                number=self._graph.next_number(),
                parents=(self._node,),
                topic=check_topic(topic),
                key=outgoing_key(self._key, _explicit(key)) or _untyped(),
                value=_explicit(value) or self._value or _untyped(),
                partition=partition,
            )
        )

    def process(
        self,
        processor: Any,
        *,
        stores: Sequence[Store | WindowStore] = (),
        key: Any = None,
        value: Any = None,
    ) -> Stream:
        """Run user code on full records: `function(record, context)`, or a class with
        `process(record, context)` and, optionally, `open(context)` and `close()`; one object per
        task. `context` reads and writes the stores, forwards records and schedules punctuation.

        `key` and `value` are the types of what it forwards; keys are as before where left out.
        """
        check_processor(processor)
        specs = tuple(self._process_store(store) for store in given_stores(stores))
        node = Process(
            number=self._graph.next_number(),
            parents=(self._node,),
            processor=processor,
            used=specs,
        )
        self._graph.add(node)
        return Stream(
            self._graph,
            node,
            key=_explicit(key) or self._key,
            value=_explicit(value),
            is_rekeyed=True,
        )

    # -- building ----------------------------------------------------------------------------

    def _process_store(self, store: Store | WindowStore) -> StoreSpec:
        known = self._graph.find_store(store.name)
        if known is not None:
            check_known(store, known)
            if store.key is None and store.value is None:
                return known
        return self._graph.share_store(store.spec(key=self._key))

    def _next(self, node: Node, *, key: Serde[Any] | None, value: Serde[Any] | None) -> Stream:
        return Stream(self._graph, node, key=key, value=value, is_rekeyed=self._is_rekeyed)

    def _stateless(
        self, operation: str, function: Callable[..., Any], *, value: Serde[Any] | None
    ) -> Stream:
        node = _operation(self._graph, self._node, operation, function)
        return self._next(node, key=self._key, value=value)

    def _rekeyed(
        self,
        operation: str,
        function: Callable[..., Any],
        *,
        key: Serde[Any] | None,
        value: Serde[Any] | None,
    ) -> Stream:
        node = _operation(self._graph, self._node, operation, function)
        return Stream(self._graph, node, key=key, value=value, is_rekeyed=True)


def _joined(
    stream: Stream,
    table: Table,
    joiner: Callable[[Any, Any], Any],
    *,
    value: Any,
    is_left: bool,
) -> Stream:
    from streamer.topology.table import Table

    if not isinstance(table, Table):
        raise TopologyError(
            f"join() takes a table, not {type(table).__name__}",
            hint="make a table of it: app.table(topic, ...), or group_by_key() and an aggregation;"
            " two streams meet in process(..., stores=[...])",
        )
    if table._graph is not stream._graph:
        raise TopologyError(
            f"table {table.spec.name!r} is of another App, so its rows are not in this one's tasks",
            hint="make a table of its topic here: app.table(topic, ..., store=...)",
        )
    check_call("join()", joiner, "value", "table_value")
    if stream._is_rekeyed:
        raise TopologyError(
            "the stream's key was changed, so its records may not be where the table's are",
            hint='call .repartition("name") before the join',
        )
    if table.spec.is_windowed:
        raise TopologyError(
            f"table {table.spec.name!r} has a value per key and window, so a record's key alone"
            " finds nothing in it",
            hint="join with a table that is not windowed, or use process(..., stores=[...])",
        )
    if stream._key is None or stream._key.name != table.spec.key.name:
        shown = "unknown" if stream._key is None else stream._key.name
        raise TopologyError(
            f"the stream's keys are {shown}, those of table {table.spec.name!r} are"
            f" {table.spec.key.name}: equal keys would have different bytes",
            hint="give the key's type where it is set, such as select_key(function, key=str)",
        )
    node = Join(
        number=stream._graph.next_number(),
        parents=(stream._node,),
        table=table.spec,
        view=table.view,
        joiner=joiner,
        is_left=is_left,
    )
    stream._graph.add(node)
    return stream._next(node, key=stream._key, value=_result(joiner, value))


def _check_merged(stream: Stream, others: Sequence[Stream]) -> None:
    if not others:
        raise TopologyError("merge() needs at least one other stream")
    for other in others:
        if not isinstance(other, Stream):
            raise TopologyError(
                f"merge() takes streams, not {type(other).__name__}",
                hint="the changes of a table are table.stream()",
            )
    if any(other._graph is not stream._graph for other in others):
        raise TopologyError("merge() takes streams of one App; these are of several")
    nodes = [each._node for each in (stream, *others)]
    if len({id(node) for node in nodes}) < len(nodes):
        raise TopologyError("merge() takes each stream once", hint="flat_map repeats records")


def _check_predicates(predicates: Iterable[Predicate]) -> None:
    for predicate in predicates:
        check_call("branch()", predicate, "key", "value")


def _operation(graph: Graph, parent: Node, operation: str, function: Callable[..., Any]) -> Node:
    parameters = ("value",) if operation.endswith("map_values") else ("key", "value")
    check_call(f"{operation}()", function, *parameters)
    node = Stateless(
        number=graph.next_number(), parents=(parent,), operation=operation, function=function
    )
    graph.add(node)
    return node


def _untyped() -> Serde[Any]:
    return Json(Any)


def _explicit(given: Any) -> Serde[Any] | None:
    return None if given is None else serde_of(given)


def _alike(one: Serde[Any] | None, other: Serde[Any] | None) -> bool:
    return one is not None and other is not None and one.name == other.name


def _result(function: Callable[..., Any], given: Any) -> Serde[Any] | None:
    """The serde of what a function returns: as given, else by its annotation, else unknown."""
    if given is not None:
        return serde_of(given)
    if not inspect.isroutine(function):
        return None
    try:
        returned = get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None
    if returned is None or returned is Any:
        return None
    if returned is str:
        return Utf8
    if returned is bytes:
        return Bytes
    try:
        return Json(returned)
    except Exception:
        return None
