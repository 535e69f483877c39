"""Which serdes a topic of the application has, so that the driver can write and read it typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamer.config import Config
from streamer.engine.compile import resolve
from streamer.errors import TopologyError
from streamer.ids import FIRST_LAYOUT, changelog_topic
from streamer.layout import ApplicationLayout
from streamer.record import Record
from streamer.task.build import internal_layouts
from streamer.topology.graph import Sink, Source, Topology
from streamer.topology.serde import Bytes, Serde
from streamer.topology.stores import StoreSpec

__all__ = ["Serdes", "Topics"]


@dataclass(frozen=True, slots=True)
class Serdes:
    key: Serde[Any]
    value: Serde[Any]


class Topics:
    """Topics by name. Repartition topics are known under their short names too."""

    def __init__(
        self, topology: Topology, config: Config, layout: ApplicationLayout | None = None
    ) -> None:
        self._topology = topology
        self._since = internal_layouts(topology, layout or ApplicationLayout())
        self._settings = config.schema_registry
        self._names: dict[str, str] = {}
        self._sources: dict[str, Serdes] = {}
        self._sinks: dict[str, Serdes] = {}
        for subtopology in topology.subtopologies:
            for source in subtopology.sources:
                for topic in source.topics:
                    self._sources.setdefault(*self._found(source, topic))
            for sink in subtopology.sinks:
                self._sinks.setdefault(*self._found(sink, sink.topic))

    def _found(self, node: Source | Sink, topic: str) -> tuple[str, Serdes]:
        name = resolve(self._topology.application_id, node, topic)
        layout = self._since.get(topic, FIRST_LAYOUT)
        here = resolve(self._topology.application_id, node, topic, layout=layout)
        self._names[topic] = here
        key = node.key.bind(name, True, self._settings)
        return here, Serdes(key, node.value.bind(name, False, self._settings))

    def name(self, topic: str) -> str:
        """The topic's name on the broker."""
        return self._names.get(topic, topic)

    def source(self, topic: str) -> Serdes:
        """Raises TopologyError for a topic that the application does not read."""
        try:
            return self._sources[topic]
        except KeyError:
            raise TopologyError(
                f"the application does not read {topic!r}",
                hint="it reads " + ", ".join(sorted(self._sources)),
            ) from None

    def of_store(self, spec: StoreSpec) -> Serdes:
        topic = changelog_topic(self._topology.application_id, spec.name)
        key = spec.key.bind(topic, True, self._settings)
        return Serdes(key, spec.value.bind(topic, False, self._settings))

    def decoding(self, topic: str) -> Serdes:
        """The serdes of the first sink that writes the topic, or of the source that reads it; bytes
        where neither does."""
        name = self.name(topic)
        return self._sinks.get(name) or self._sources.get(name) or Serdes(Bytes, Bytes)

    def decoded(self, topic: str, records: Sequence[Record]) -> list[Record]:
        serdes = self.decoding(topic)
        return [
            replace(
                record,
                key=None if record.key is None else serdes.key.decode(record.key),
                value=None if record.value is None else serdes.value.decode(record.value),
            )
            for record in records
        ]
