"""The control topics: their names and settings, and in which partition a worker's records are.

<application>.members       one partition: whoever of the candidates is given it is the controller;
                            never a record
<application>.assignments   compacted; a worker reads only the partition of its own id
<application>.status        compacted; read by the controller and by whoever wants to know
<application>.operations    compacted, one partition: requests to the controller, and its plan
<application>.orders        compacted, one partition: what workers are to do with their tasks
<application>.layout        compacted, one partition: how many tasks there are, over which topics
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from streamer.config import Config
from streamer.errors import TopicMissingError
from streamer.ids import TopicPartition, control_topic
from streamer.kafka.admin import Admin, TopicSpec

__all__ = ["ControlTopics", "layout_place", "make_layout_topic"]

# 1,200 workers write 300 small records a second; a partition carries a hundred times that.
STATUS_PARTITIONS = 1

# Whoever reads a table begins at its start, so what compaction has not yet been through is what a
# start waits for: small segments, closed and compacted soon.
_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 * 1024 * 1024),
    "segment.ms": str(3_600_000),
    "min.cleanable.dirty.ratio": "0.1",
}
_MEMBERS = {"cleanup.policy": "delete", "retention.ms": str(3_600_000)}


@dataclass(frozen=True, slots=True)
class ControlTopics:
    """Where control records are. The numbers are those of the topics as they exist."""

    application_id: str
    assignment_partitions: int
    status_partitions: int

    @classmethod
    def prepare(cls, config: Config, admin: Admin) -> ControlTopics:
        """Create what is missing. Raises InternalTopicError when `members` is not as it must be."""
        specs = _specs(config)
        existing = _existing(admin, [spec.name for spec in specs])
        admin.create([spec for spec in specs if spec.name not in existing or not spec.any_size])
        return cls.find(config, admin)

    @classmethod
    def find(cls, config: Config, admin: Admin) -> ControlTopics:
        """As they are. Raises TopicMissingError where no worker has ever run."""
        names = [control_topic(config.application_id, kind) for kind in ("assignments", "status")]
        try:
            counts = admin.partitions(names)
        except TopicMissingError as error:
            raise TopicMissingError(
                f"the application {config.application_id!r} has no control topics at"
                f" {config.bootstrap_servers}: none of its workers has run there",
                hint="check the application id and bootstrap_servers, or start a worker",
            ) from error
        return cls(config.application_id, counts[names[0]], counts[names[1]])

    @property
    def members(self) -> str:
        """The topic, and the consumer group of the same name."""
        return control_topic(self.application_id, "members")

    def lifeline(self, worker: str) -> str:
        """The consumer group that the processes of one worker alone are in while they live."""
        return f"{self.members}.{worker}"

    def assignment(self, worker: str) -> TopicPartition:
        """Where the assignments of one worker are."""
        return self.assignments()[crc32(worker.encode()) % self.assignment_partitions]

    def status(self, worker: str) -> TopicPartition:
        """Where the status of one worker is."""
        return self.statuses()[crc32(worker.encode()) % self.status_partitions]

    @property
    def operations(self) -> TopicPartition:
        """Where requests and the plan are."""
        return TopicPartition(control_topic(self.application_id, "operations"), 0)

    @property
    def orders(self) -> TopicPartition:
        """Where every worker reads what it is asked to do."""
        return TopicPartition(control_topic(self.application_id, "orders"), 0)

    @property
    def layout(self) -> TopicPartition:
        """Where the layout is that the application runs."""
        return layout_place(self.application_id)

    def assignments(self) -> list[TopicPartition]:
        topic = control_topic(self.application_id, "assignments")
        return [TopicPartition(topic, number) for number in range(self.assignment_partitions)]

    def statuses(self) -> list[TopicPartition]:
        topic = control_topic(self.application_id, "status")
        return [TopicPartition(topic, number) for number in range(self.status_partitions)]


def layout_place(application_id: str) -> TopicPartition:
    """The same before any control topic is known to be there."""
    return TopicPartition(control_topic(application_id, "layout"), 0)


def make_layout_topic(config: Config, admin: Admin) -> None:
    """Create it where it is missing: for who writes a layout before any worker has run."""
    admin.create(
        [spec for spec in _specs(config) if spec.name == layout_place(config.application_id).topic]
    )


def _specs(config: Config) -> list[TopicSpec]:
    user = {name: str(value) for name, value in config.internal_topics.items()}
    kinds = {
        "members": (1, _MEMBERS),
        "assignments": (config.assignment_partitions, _COMPACTED),
        "status": (STATUS_PARTITIONS, _COMPACTED),
        "operations": (1, _COMPACTED),
        "orders": (1, _COMPACTED),
        "layout": (1, _COMPACTED),
    }
    return [
        TopicSpec(
            control_topic(config.application_id, kind),
            partitions,
            # What a control topic rests on wins over what the user wants for changelogs.
            user | settings,
            replication_factor=config.replication_factor,
            # Any number will do for the tables; but an election needs exactly one.
            any_size=kind != "members",
        )
        for kind, (partitions, settings) in kinds.items()
    ]


def _existing(admin: Admin, names: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        try:
            found |= admin.partitions([name])
        except TopicMissingError:
            continue
    return found
