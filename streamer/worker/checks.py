"""All that can be known to be wrong with an application without asking Kafka, in one place: what a
start refuses, `streamer settings` refuses too."""

from __future__ import annotations

from streamer.changelog.topics import changelog_settings
from streamer.config import Config
from streamer.kafka import settings
from streamer.kafka.registry import client
from streamer.store.trial import check_topology
from streamer.task.serdes import check_serdes
from streamer.topology.graph import Topology

__all__ = ["check"]


def check(topology: Topology, config: Config) -> None:
    """Raise ConfigError, or what else of UsageError fits, for the first thing that is wrong."""
    settings.check(config)
    changelog_settings(config)
    client.check(config)
    check_serdes(topology, config.schema_registry)
    check_topology(topology, config)
