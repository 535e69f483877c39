"""What a consumer group has committed, asked by a client that is no member of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Address

from streamer.config import Config
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.api import Committed
from streamer.kafka.attempts import Attempts
from streamer.kafka.faults import error_of
from streamer.kafka.rights import on_group, on_topics

__all__ = ["committed", "positions"]

_LOOK_S = 2.0


def committed(
    config: Config,
    group: str,
    places: Iterable[TopicPartition],
    *,
    timeout_s: float,
    stopping: threading.Event | None = None,
    is_stable: bool = True,
) -> dict[TopicPartition, Committed]:
    """The group's committed positions and what was written beside them, once no transaction is
    open on them, or, where it need not be `is_stable`, as they were before those; places without
    one are left out.

    Raises KafkaUnavailableError after `timeout_s`, StoppedError once `stopping` is set.
    """
    addresses = [Address(*each) for each in places]
    if not addresses:
        return {}
    found = Attempts(timeout_s, config.bootstrap_servers, stopping=stopping)(
        f"asking for the positions of {group}",
        lambda left_s: positions(config, group, addresses, left_s=left_s, is_stable=is_stable),
        on_group("Describe", group),
        on_topics("Describe", {address.topic for address in addresses}),
    )
    return {
        TopicPartition(one.topic, one.partition): Committed(one.offset, one.metadata or "")
        for one in found
        if one.offset >= 0
    }


def positions(
    config: Config,
    group: str,
    addresses: list[Address],
    *,
    left_s: float,
    is_stable: bool = True,
) -> Any:
    """By a consumer: the admin client crashes (librdkafka 2.16) when it is told that the group's
    coordinator still loads."""
    level = "read_committed" if is_stable else "read_uncommitted"
    made = settings.admin(config) | {"group.id": group, "isolation.level": level}
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
