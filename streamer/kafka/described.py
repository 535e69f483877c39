"""What brokers say of topics: their partitions, their settings, that nobody knows of one."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
)

from streamer.kafka.faults import error_of
from streamer.kafka.rights import on_topics, refusal

__all__ = ["bits", "descriptions", "is_for_good", "is_missing", "operations", "settings_of"]

_log = logging.getLogger(__name__)


def descriptions(
    client: AdminClient, topics: list[str], left_s: float, *, rights: bool = False
) -> dict[str, Any]:
    """What brokers say of each topic that exists; with what this user may do there, if asked."""
    found = {}
    answers = client.describe_topics(
        TopicCollection(topics), include_authorized_operations=rights, request_timeout=left_s
    )
    for topic, answer in answers.items():
        try:
            found[topic] = answer.result(left_s + 1)
        except KafkaException as error:
            denied = refusal(error_of(error), f"looking up {topic}", on_topics("Describe", [topic]))
            if denied is not None:
                raise denied from error
            if not is_missing(error):
                raise
    return found


def settings_of(
    client: AdminClient, resources: list[ConfigResource], left_s: float
) -> dict[str, dict[str, str]]:
    found = {}
    answers = client.describe_configs(resources, request_timeout=left_s)
    for resource, answer in answers.items():
        try:
            entries = answer.result(left_s + 1)
        except KafkaException as error:
            if not is_for_good(error):
                raise
            _log.warning("no settings of %s: %s", resource.name, error_of(error).str())
        else:
            values = {name: entry.value for name, entry in entries.items()}
            found[resource.name] = {k: v for k, v in values.items() if v is not None}
    return found


def operations(described: Any) -> Collection[Any]:
    return (described.authorized_operations or ()) if described is not None else ()


def bits(topic_id: Any) -> tuple[int, int]:
    return topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits()


def is_missing(error: KafkaException) -> bool:
    return error_of(error).code() in (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._NOENT,  # no leader: a topic or a partition that does not exist
    )


def is_for_good(error: KafkaException) -> bool:
    return is_missing(error) or refusal(error_of(error), "") is not None
