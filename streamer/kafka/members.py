"""The members of a consumer group, as its coordinator lists them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from streamer.ids import TopicPartition
from streamer.kafka.faults import error_of
from streamer.kafka.rights import refusal

__all__ = ["GroupMember", "members"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of a consumer group, with the partitions that it was given."""

    client_id: str
    host: str
    partitions: frozenset[TopicPartition]


def members(answers: Mapping[str, Future[Any]], what: str) -> dict[str, list[GroupMember]]:
    """Of each group who is in it, nobody where there is none; without those that nobody could tell
    of. Raises what is refused, and where nobody could tell of any."""
    found: dict[str, list[GroupMember]] = {}
    trouble: list[KafkaException | TimeoutError] = []
    for group, answer in answers.items():
        try:
            found[group] = [_member(each) for each in answer.result(0).members]
        except TimeoutError as error:
            trouble.append(error)
        except KafkaException as error:
            if error_of(error).code() == KafkaError.GROUP_ID_NOT_FOUND:
                found[group] = []
            elif refusal(error_of(error), what) is not None:
                raise
            else:
                trouble.append(error)
    if trouble and not found:
        raise trouble[0]
    if trouble:
        _log.info("%s: not known of %d groups: %s", what, len(trouble), trouble[0])
    return found


def _member(found: Any) -> GroupMember:
    given = found.assignment.topic_partitions if found.assignment else []
    return GroupMember(
        found.client_id or "",
        found.host or "",
        frozenset(TopicPartition(each.topic, each.partition) for each in given),
    )
