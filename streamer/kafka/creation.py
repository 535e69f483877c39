"""Topics to create, and what it means where brokers refuse them: a setting is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from streamer.errors import ConfigError
from streamer.kafka.faults import error_of
from streamer.kafka.rights import on_topics, refusal

__all__ = ["TopicSpec", "create"]

_WRONG_SETTINGS = {
    KafkaError.INVALID_REPLICATION_FACTOR: "set replication_factor to no more than there are"
    " brokers (-1: what they have as their default), or start the brokers that are missing",
    KafkaError.INVALID_CONFIG: "correct internal_topics: its names and values are those of Kafka's"
    " topic settings",
    KafkaError.INVALID_PARTITIONS: "the brokers do not allow so many partitions: they follow from"
    " those of the input topics, or are given to repartition()",
    KafkaError.POLICY_VIOLATION: "the brokers' own policy for topics forbids it: see its reason,"
    " replication_factor and internal_topics",
}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to create. `settings` have Kafka's names; -1 copies: the brokers' default. One of
    `any_size` may exist with another number of partitions."""

    name: str
    partitions: int
    settings: Mapping[str, str] = field(default_factory=dict)
    replication_factor: int = -1
    any_size: bool = False


def create(client: AdminClient, topics: Sequence[TopicSpec], left_s: float) -> None:
    wanted = [
        NewTopic(each.name, each.partitions, each.replication_factor, config=dict(each.settings))
        for each in topics
    ]
    answers = client.create_topics(wanted, operation_timeout=left_s, request_timeout=left_s)
    for topic, answer in answers.items():
        try:
            answer.result(left_s + 1)
        except KafkaException as error:
            found = error_of(error)
            if hint := _WRONG_SETTINGS.get(found.code()):
                raise ConfigError(f"creating {topic}: {found.str()}", hint=hint) from error
            if denied := refusal(found, f"creating {topic}", on_topics("Create", [topic])):
                raise denied from error
            if found.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
