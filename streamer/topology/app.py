"""`App`: the description of an application. It describes; a worker runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamer.errors import TopologyError
from streamer.ids import check_application_id, check_topic
from streamer.topology.declared import Declared, name_of
from streamer.topology.graph import Graph, Source, TableUpdate, Topology
from streamer.topology.loops import check_loops, check_own_topics
from streamer.topology.serde import Bytes, serde_of
from streamer.topology.stores import Store, WindowStore, given_store
from streamer.topology.stream import Stream
from streamer.topology.table import Table

__all__ = ["App"]


class App:
    """One application: its id, its settings and its topology.

    App("spend", bootstrap_servers="kafka:9092", commit_interval_ms=500)

    Settings are those of the configuration reference, under Kafka's names. Nothing is checked
    against a broker and nothing connects before a worker runs the application.
    """

    def __init__(self, application_id: str, **settings: Any) -> None:
        self.application_id = check_application_id(application_id)
        self.settings = settings
        self._graph = Graph(self.application_id)

    def stream(
        self,
        topic: str | Sequence[str],
        *,
        key: Any = None,
        value: Any = None,
        partitioner: str | Declared | None = None,
    ) -> Stream:
        """Read one topic, or several of one kind. `key` and `value` are types or serdes; left
        out they are bytes.

        `partitioner` says how producers choose the partition of a key: "murmur2" (Java's, and taken
        where nothing is said), "consistent" (librdkafka's own default), or a function of a module:
        the bytes of a key and the number of partitions give one of them. Queries for a key, and
        changes of the number of tasks, go by it. Raises TopologyError for what is none of these.
        """
        source = self._source(topic, key=key, value=value, partitioner=partitioner)
        return Stream(self._graph, source, key=source.key, value=source.value)

    def table(
        self,
        topic: str,
        *,
        key: Any = None,
        value: Any = None,
        store: str | Store,
        partitioner: str | Declared | None = None,
    ) -> Table:
        """Read a topic as a table: the newest value per key, a None value removes the key.
        `partitioner` as of `stream`."""
        source = self._source(topic, key=key, value=value, partitioner=partitioner)
        given = given_store(store)
        spec = self._graph.claim_store(given.spec(key=source.key, value=source.value))
        node = TableUpdate(number=self._graph.next_number(), parents=(source,), store=spec)
        self._graph.add(node)
        return Table(self._graph, node, spec=spec)

    def process(
        self,
        topic: str,
        *,
        key: Any = None,
        value: Any = None,
        partitioner: str | Declared | None = None,
        stores: Sequence[Store | WindowStore] = (),
        to: str | None = None,
        to_key: Any = None,
        to_value: Any = None,
    ) -> Callable[[Any], Any]:
        """Decorator: run a function or class on a topic's records, as `Stream.process` does.

        @app.process("purchases", key=str, value=Purchase, stores=[seen], to="days", to_value=int)
        def first(record, context): ...

        `key` and `value` are the types of the records, `to_key` and `to_value` those of what it
        forwards: left out, keys are as before and values are untyped JSON. `partitioner` as of
        `stream`.
        """
        if to is None and (to_key is not None or to_value is not None):
            raise TopologyError(
                "to_key and to_value are the types of what is written, and no topic is",
                hint='name the topic: to="first-orders"',
            )

        def decorate(processor: Any) -> Any:
            stream = self.stream(topic, key=key, value=value, partitioner=partitioner)
            result = stream.process(processor, stores=stores, key=to_key, value=to_value)
            if to is not None:
                result.to(to)
            return processor

        return decorate

    def topology(self) -> Topology:
        """The topology described so far. Raises TopologyError when it reads nothing, what it
        writes without an end, or a changelog of its own."""
        check_loops(self._graph.nodes)
        topology = self._graph.build()
        check_own_topics(topology, self._graph.nodes)
        return topology

    def _source(
        self,
        topic: str | Sequence[str],
        *,
        key: Any,
        value: Any,
        partitioner: str | Declared | None,
    ) -> Source:
        topics = tuple(topic) if isinstance(topic, list | tuple) else (topic,)
        if not topics:
            raise TopologyError(f"{topic!r} has no topic", hint='write app.stream("purchases")')
        source = Source(
            number=self._graph.next_number(),
            topics=tuple(check_topic(name) for name in topics),
            key=Bytes if key is None else serde_of(key),
            value=Bytes if value is None else serde_of(value),
            partitioner="" if partitioner is None else name_of(partitioner),
        )
        self._graph.add(source)
        return source
