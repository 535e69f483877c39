"""What outlives the driver's processes: the application, the broker, the clock, the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from streamer.clock import ManualClock
from streamer.config import Config, budget, load
from streamer.errors import TopologyError
from streamer.kafka.fake import FakeBroker
from streamer.store.pool import MemoryPool
from streamer.store.trial import check_topology
from streamer.topology.app import App
from streamer.topology.graph import Topology
from streamer.topology.partitioner import partition_of
from streamer.topology.partitions import Partitions, external_topics, partitions

__all__ = ["Stage", "build_stage"]


@dataclass(frozen=True, slots=True)
class Stage:
    topology: Topology
    config: Config
    planned: Partitions
    broker: FakeBroker
    clock: ManualClock
    pool: MemoryPool


def build_stage(
    app: App,
    folder: Path,
    *,
    partitions: int | Mapping[str, int],
    tasks: int | None,
    start_ms: int,
    settings: Mapping[str, Any],
) -> Stage:
    """Check the application as a worker does, and make its topics. `tasks` are those of each
    subtopology where they are fewer than its partitions.

    Raises ConfigError and TopologyError.
    """
    topology = app.topology()
    config = load(
        app.application_id,
        keywords={**app.settings, **settings, "state_dir": folder},
        environment={},
        directory=folder,
    )
    check_topology(topology, config)
    clock = ManualClock(start_ms)
    broker = FakeBroker(partition_of=partition_of, now_ms=clock.now_ms)
    planned = _create_topics(broker, topology, config, partitions, tasks=tasks)
    parts = budget(config)
    pool = MemoryPool(parts.block_cache_bytes, parts.write_buffers_bytes)
    return Stage(topology, config, planned, broker, clock, pool)


def _create_topics(
    broker: FakeBroker,
    topology: Topology,
    config: Config,
    given: int | Mapping[str, int],
    *,
    tasks: int | None,
) -> Partitions:
    read, written = external_topics(topology)
    named = [*read, *written, *([config.dead_letter_topic] if config.dead_letter_topic else [])]
    counts = dict.fromkeys(named, given) if isinstance(given, int) else given
    unknown = set(counts) - set(named)
    if unknown:
        raise TopologyError(f"partitions= names topics that are not used: {sorted(unknown)}")
    placed = {topic: partial(partition_of, partitioner=by) for topic, by in topology.placed.items()}
    for topic in named:
        broker.create(topic, counts.get(topic, 1), placed.get(topic))
    counted = {topic: broker.topics[topic] for topic in read}
    planned = partitions(topology, counted)
    if tasks is not None:
        folded = planned.layout.folded(dict.fromkeys(planned.layout.subtopologies, tasks))
        planned = partitions(topology, counted, folded)
    for topic, count in planned.internal.items():
        broker.create(topic, count)
    return planned
