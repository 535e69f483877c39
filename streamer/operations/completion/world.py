"""The world of a completion, as Kafka has it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from streamer.config import Config
from streamer.control.current import current_layout
from streamer.ids import control_topic
from streamer.kafka.admin import Admin
from streamer.kafka.changes import Changes
from streamer.kafka.readers import Reader, Readers
from streamer.layout import ApplicationLayout
from streamer.operations.books import Books, read_books
from streamer.operations.completion.ports import Present
from streamer.operations.rebuild_world import KafkaWorld as KafkaOrders
from streamer.operations.repartition.survey import told_topology
from streamer.operations.table import KafkaTable
from streamer.topology.partitions import external_topics, partitions
from streamer.topology.shape import shape_of

__all__ = ["KafkaWorld"]


class KafkaWorld(KafkaOrders):
    """A `World`. Raises TopicMissingError where no worker has ever run."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._brokers = Admin(config)
        self._changes = Changes(config)
        self._readers = Readers(config, self._brokers)
        self._table = KafkaTable(config)

    def books(self) -> Books:
        return read_books(self._table.application, self._table.read(to_end=True))

    def recorded(self) -> ApplicationLayout:
        return current_layout(self.config, self._brokers) or ApplicationLayout()

    def present(self) -> Present:
        topology = told_topology(self.config)
        read, _written = external_topics(topology)
        planned = partitions(topology, self._brokers.partitions(read), self.recorded())
        return Present(planned, shape_of(topology, planned.layout).digest)

    def topics(self) -> Mapping[str, int]:
        return self._brokers.topics()

    def readers(self, topics: Mapping[str, int]) -> Sequence[Reader]:
        return self._readers.of(topics, is_own=self._is_own)

    def delete(self, topics: Collection[str]) -> None:
        self._changes.delete_topics(topics)

    def close(self) -> None:
        self._table.close()
        super().close()

    def _is_own(self, group: str) -> bool:
        """The group of the application's positions, and those that read control records."""
        own = self.config.application_id
        return group in (own, control_topic(own, "control")) or group.startswith(
            control_topic(own, "members")
        )
