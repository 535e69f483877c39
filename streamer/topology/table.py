"""`Table`: the newest value per key, kept in a store, with its changes as a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamer.topology.calls import check_call
from streamer.topology.graph import Graph, Node, Stateless
from streamer.topology.serde import Serde, serde_of
from streamer.topology.stores import StoreSpec
from streamer.topology.stream import Stream, _result
from streamer.topology.windowed_serde import WindowedKey

__all__ = ["Table"]

View = Callable[[Any, Any], Any]


class Table:
    """What `App.table` and aggregations return. A value of None means that the key is gone.

    `filter` and `map_values` give a derived table: joins against it look through them into the
    same store, so that nothing is stored twice.
    """

    def __init__(
        self,
        graph: Graph,
        node: Node,
        *,
        spec: StoreSpec,
        value: Serde[Any] | None = None,
        view: View | None = None,
        is_derived: bool = False,
    ) -> None:
        self._graph = graph
        self._node = node
        self._value = value if is_derived else spec.value
        self._is_derived = is_derived
        self.spec = spec
        self.view = view

    def filter(self, predicate: Callable[[Any, Any], bool]) -> Table:
        """Rows for which `predicate(key, value)` holds; a row that stops to hold is removed."""
        check_call("filter()", predicate, "key", "value")

        def keep(key: Any, value: Any) -> Any:
            return value if value is not None and predicate(key, value) else None

        return self._derived(keep, value=self._value)

    def map_values(self, function: Callable[[Any], Any], *, value: Any = None) -> Table:
        """The same keys with `function(value)`."""
        check_call("map_values()", function, "value")

        def mapped(_key: Any, old: Any) -> Any:
            return None if old is None else function(old)

        return self._derived(mapped, value=_result(function, value))

    def stream(self) -> Stream:
        """The changes as a stream; a removed key comes as a None value."""
        return Stream(self._graph, self._node, key=self._key, value=self._value)

    def to(
        self,
        topic: str,
        *,
        key: Any = None,
        value: Any = None,
        partition: Callable[[Any, Any, int], int] | None = None,
    ) -> Table:
        """Write every change to a topic, a removed key as a tombstone. Returns the table."""
        self.stream().to(topic, key=key, value=value, partition=partition)
        return self

    @property
    def _key(self) -> Serde[Any]:
        if self.spec.is_windowed:
            return WindowedKey(self.spec.key, self.spec)
        return self.spec.key

    def _derived(self, step: View, *, value: Serde[Any] | None) -> Table:
        before = self.view

        def view(key: Any, stored: Any) -> Any:
            return step(key, stored if before is None else before(key, stored))

        node = Stateless(
            number=self._graph.next_number(),
            parents=(self._node,),
            operation="table_view",
            function=step,
        )
        self._graph.add(node)
        return Table(
            self._graph,
            node,
            spec=self.spec,
            value=serde_of(value) if value is not None else None,
            view=view,
            is_derived=True,
        )
