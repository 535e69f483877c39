"""Whether the serdes of an application have what they need, before a task binds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from streamer.engine.compile import resolve
from streamer.errors import ConfigError
from streamer.ids import changelog_topic
from streamer.topology.graph import Sink, Source, Topology
from streamer.topology.serde import Serde

__all__ = ["check_serdes"]


class _Place(NamedTuple):
    """One serde where it is used; `shown` is what the user calls the place."""

    shown: str
    topic: str
    is_key: bool
    serde: Serde[Any]


def check_serdes(topology: Topology, registry: Mapping[str, Any]) -> None:
    """Bind every serde, as each task does, to its topic and the schema registry's settings.

    Raises the UsageError that a task would have ended with: ConfigError, with the place in it,
    where a serde needs a registry and there is none. Nothing is connected.
    """
    for place in _places(topology):
        try:
            place.serde.bind(place.topic, place.is_key, registry)
        except ConfigError as error:
            role = "keys" if place.is_key else "values"
            raise ConfigError(
                f"{role} of {place.shown} ({place.serde.name}): {error.message}", hint=error.hint
            ) from error


def _places(topology: Topology) -> Iterator[_Place]:
    application_id = topology.application_id
    for subtopology in topology.subtopologies:
        for node in subtopology.nodes:
            if isinstance(node, Source | Sink):
                for topic in node.topics if isinstance(node, Source) else (node.topic,):
                    name = resolve(application_id, node, topic)
                    yield _Place(f"topic {topic}", name, True, node.key)
                    yield _Place(f"topic {topic}", name, False, node.value)
        for spec in subtopology.stores:
            changelog = changelog_topic(application_id, spec.name)
            yield _Place(f"store {spec.name}", changelog, True, spec.key)
            yield _Place(f"store {spec.name}", changelog, False, spec.value)
