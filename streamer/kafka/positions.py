"""What a consumer group has committed, asked by a client that is no member of it."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Address

from streamer.config import Config
from streamer.kafka import settings
from streamer.kafka.faults import error_of

__all__ = ["positions"]

_LOOK_S = 2.0


def positions(config: Config, group: str, addresses: list[Address], *, left_s: float) -> Any:
    """By a consumer: the admin client crashes (librdkafka 2.16) when it is told that the group's
    coordinator still loads."""
    made = settings.admin(config) | {"group.id": group, "isolation.level": "read_committed"}
    consumer = Consumer(made)
    try:
        return _asked(consumer, addresses, time.monotonic() + left_s)
    finally:
        consumer.close()


def _asked(consumer: Consumer, addresses: list[Address], deadline: float) -> Any:
    """That the group may not be looked at is told to whoever polls alone, while the question waits
    for the group's coordinator."""
    while True:
        left_s = max(deadline - time.monotonic(), 0.1)
        try:
            return consumer.committed(addresses, timeout=min(left_s, _LOOK_S))
        except KafkaException as error:
            said = consumer.poll(0)
            reason = None if said is None else said.error()
            if reason is not None:
                raise KafkaException(reason) from error
            if error_of(error).code() != KafkaError._TIMED_OUT or time.monotonic() >= deadline:
                raise
