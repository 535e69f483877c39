"""What a consumer group has committed, asked by a client that is no member of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Address

from streamer.closable import Closable
from streamer.config import Config
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.api import Committed
from streamer.kafka.attempts import Attempts
from streamer.kafka.faults import error_of
from streamer.kafka.rights import on_group, on_topics

__all__ = ["PositionsReader", "committed", "positions"]

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
    return _committed(
        Attempts(timeout_s, config.bootstrap_servers, stopping=stopping),
        group,
        addresses,
        lambda left_s: positions(config, group, addresses, left_s=left_s, is_stable=is_stable),
    )


class PositionsReader(Closable):
    """Asks again and again, as they were before transactions that are open, by one client: a new
    one costs more than the question. Used by one thread."""

    def __init__(
        self, config: Config, group: str, *, stopping: threading.Event | None = None
    ) -> None:
        self._config = config
        self._group = group
        self._stopping = stopping
        self._consumer: Consumer | None = None

    def committed(
        self, places: Iterable[TopicPartition], *, timeout_s: float
    ) -> dict[TopicPartition, Committed]:
        """Raises as the function of that name."""
        addresses = [Address(*each) for each in places]
        attempts = Attempts(timeout_s, self._config.bootstrap_servers, stopping=self._stopping)
        return _committed(
            attempts, self._group, addresses, lambda left_s: self._ask(addresses, left_s)
        )

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _ask(self, addresses: list[Address], left_s: float) -> Any:
        if self._consumer is None:
            self._consumer = Consumer(_settings(self._config, self._group, is_stable=False))
        try:
            return _asked(self._consumer, addresses, time.monotonic() + left_s)
        except BaseException:
            # One that is in trouble may stay so.
            self.close()
            raise


def _committed(
    attempts: Attempts, group: str, addresses: list[Address], ask: Callable[[float], Any]
) -> dict[TopicPartition, Committed]:
    found = attempts(
        f"asking for the positions of {group}",
        ask,
        on_group("Describe", group),
        on_topics("Describe", {address.topic for address in addresses}),
    )
    return {
        TopicPartition(one.topic, one.partition): Committed(one.offset, one.metadata or "")
        for one in found
        if one.offset >= 0
    }


def _settings(config: Config, group: str, *, is_stable: bool) -> dict[str, Any]:
    level = "read_committed" if is_stable else "read_uncommitted"
    return settings.admin(config) | {"group.id": group, "isolation.level": level}


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
    consumer = Consumer(_settings(config, group, is_stable=is_stable))
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
