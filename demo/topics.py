"""Kafka as a plain client sees it: topics and a group's positions."""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

__all__ = ["PARTITIONS", "Topics"]

PARTITIONS = 4
# Event times are those of 1997; by default Kafka would delete such records at once.
_FOREVER = {"retention.ms": "-1"}
_TOLD_S = 10.0


class Topics:
    """Topics of `PARTITIONS` partitions on one broker; `widths` has others. Raises KafkaException
    where it fails."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap_servers,
            "log_level": 0,
        }
        self._admin = AdminClient(self._settings)
        self._readers: dict[str, Consumer] = {}
        self.widths: dict[str, int] = {}

    def create(self, names: Iterable[str]) -> None:
        topics = [NewTopic(name, PARTITIONS, 1, config=_FOREVER) for name in names]
        for made in self._admin.create_topics(topics, operation_timeout=30).values():
            made.result(30)

    def committed(self, group: str, topic: str) -> list[int]:
        """The group's position in each partition; 0 where nothing was committed.

        Empty while the broker cannot tell, such as just after its start.
        """
        if group not in self._readers:
            # The admin client's own call crashes the process when the broker answers that it is
            # not the group's coordinator (librdkafka 2.16).
            settings = {"group.id": group, "isolation.level": "read_uncommitted"}
            self._readers[group] = Consumer({**self._settings, **settings})
        numbers = range(self.widths.get(topic, PARTITIONS))
        wanted = [TopicPartition(topic, number) for number in numbers]
        try:
            found = self._readers[group].committed(wanted, timeout=5)
        except KafkaException:
            return []
        positions = {place.partition: max(place.offset, 0) for place in found}
        return [positions[number] for number in numbers]

    def known(self, group: str, topic: str) -> list[int]:
        """The same, as soon as the broker can tell. Raises TimeoutError."""
        deadline = time.monotonic() + _TOLD_S
        while not (positions := self.committed(group, topic)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Kafka does not tell the positions of {group}")
        return positions

    def close(self) -> None:
        while self._readers:
            self._readers.popitem()[1].close()
