"""Collects the history of a run: from a real cluster, or from the driver's broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streamer.config import Config
from streamer.ids import TopicPartition, changelog_topic
from streamer.layout import ApplicationLayout
from streamer.record import Record
from streamer.store.keys import payload
from streamer.testing.history import History
from streamer.testing.topics import Topics
from streamer.testing.views import shown_key
from streamer.topology.app import App
from streamer.topology.graph import Topology

if TYPE_CHECKING:
    from streamer.testing.driver import TopologyTestDriver

__all__ = ["changelog_state", "cluster_history", "driver_history"]


def cluster_history(
    app: App,
    config: Config,
    *,
    inputs: str | Sequence[str],
    output: str | None = None,
    store: str | None = None,
    state: Mapping[Any, Any] | None = None,
    layout: ApplicationLayout | None = None,
    timeout_s: float = 60.0,
) -> History:
    """The history of an application on a real Kafka, which should stand still meanwhile.

    `store` has its changelog compared; `state` is what was read from the store, such as by
    queries. Raises TopicMissingError, and KafkaUnavailableError when a topic has no end in time.
    """
    from streamer.kafka.admin import Admin
    from streamer.kafka.reading import read_topic

    topology = app.topology()
    layout = layout or ApplicationLayout()
    topics = Topics(topology, config, layout)

    def read(topic: str) -> list[Record]:
        return read_topic(config, topics.name(topic), timeout_s=timeout_s)

    names = [topics.name(topic) for topic in _listed(inputs)]
    admin = Admin(config)
    places = [
        TopicPartition(name, number)
        for name, count in admin.partitions(names).items()
        for number in range(count)
    ]
    return History(
        inputs=[record for name in names for record in topics.decoded(name, read(name))],
        outputs=None if output is None else topics.decoded(output, read(output)),
        state=state,
        changelog=None
        if store is None
        else changelog_state(
            topology, store, read(_changelog(topology, store, layout)), topics=topics
        ),
        committed=admin.committed(config.application_id, places),
        ends=admin.ends(places),
    )


def driver_history(
    driver: TopologyTestDriver,
    *,
    inputs: str | Sequence[str],
    output: str | None = None,
    store: str | None = None,
) -> History:
    """The history of what a driver has run so far."""
    broker, config, topology = driver.broker, driver.config, driver.topology
    topics = Topics(topology, config, driver.layout)
    names = [topics.name(topic) for topic in _listed(inputs)]
    records = [record for name in names for record in broker.records(name)]
    records.sort(key=lambda one: (one.topic, one.partition, one.offset))
    group = broker.groups.get(config.application_id, {})
    places = [TopicPartition(name, n) for name in names for n in range(broker.topics[name])]
    changelog = None
    if store is not None:
        rows = broker.records(_changelog(topology, store, driver.layout))
        changelog = changelog_state(topology, store, rows, topics=topics)
    return History(
        inputs=[one for name in names for one in topics.decoded(name, _of(records, name))],
        outputs=None if output is None else driver.read_records(output),
        state=None if store is None else dict(driver.store(store)),
        changelog=changelog,
        committed={place: one.position for place, one in group.items() if place in places},
        ends={place: broker.bounds(place)[1] for place in places},
    )


def changelog_state(
    topology: Topology, store: str, records: Iterable[Record], *, topics: Topics
) -> dict[Any, Any]:
    """The state that a changelog holds. A key that is alive in several partitions is shown once
    for each, so that it matches no expectation."""
    spec = next(spec for spec in topology.stores if spec.name == store)
    serdes = topics.of_store(spec)
    rows: dict[tuple[bytes, int | None], bytes | None] = {}
    for record in records:
        rows[record.key, record.partition] = record.value
    state: dict[Any, Any] = {}
    for (stored_key, partition), row in rows.items():
        if row is not None:
            key = shown_key(spec, serdes.key, stored_key)
            if key in state:
                key = f"{key!r}, again in partition {partition}"
            state[key] = serdes.value.decode(payload(row))
    return state


def _listed(topics: str | Sequence[str]) -> list[str]:
    return [topics] if isinstance(topics, str) else list(topics)


def _of(records: Sequence[Record], topic: str) -> list[Record]:
    return [record for record in records if record.topic == topic]


def _changelog(topology: Topology, store: str, layout: ApplicationLayout) -> str:
    number = topology.subtopology_of_store(store).number
    return changelog_topic(topology.application_id, store, layout.since(number))
