"""Membership in a group: a consumer that does nothing but live, and may be elected.

In the group of all candidates the owner of the topic's only partition is the controller. A
rebalance calls back every member, also those whose partitions stay as they are: that is how changes
of the group are heard of. Nothing is ever read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as Address

from streamer.closable import Closable
from streamer.config import Config
from streamer.errors import KafkaUnavailableError
from streamer.ids import control_topic
from streamer.kafka import settings
from streamer.kafka.attempts import unless_away
from streamer.kafka.rights import on_group, on_topics
from streamer.kafka.stuck import let_go, stuck

__all__ = ["Membership"]

_log = logging.getLogger(__name__)


class Membership(Closable):
    """One process in the group. Used by the one thread that polls it."""

    @classmethod
    def of_candidate(cls, config: Config, *, client_id: str) -> Membership:
        """In the group in which the controller is elected."""
        return cls(config, settings.candidate_consumer(config), client_id=client_id)

    @classmethod
    def of_worker(cls, config: Config, group: str, *, client_id: str) -> Membership:
        """In a worker's own group."""
        return cls(config, settings.lifeline_consumer(config, group), client_id=client_id)

    def __init__(self, config: Config, made: Mapping[str, Any], *, client_id: str) -> None:
        topic = control_topic(config.application_id, "members")
        made = {
            **made,
            "client.id": client_id,
            # A process that sends heartbeats but cannot poll, since some call never gives the
            # interpreter back, would otherwise hold up every election.
            "max.poll.interval.ms": max(config.session_timeout_ms, config.processing_timeout_ms),
        }
        self._topic = topic
        self._group = str(made["group.id"])
        self._is_changed = False
        self._is_lost = False
        self.is_owner = False
        self._consumer = Consumer(made)
        self._stuck = stuck(config, lambda: self._consumer, lambda: topic)
        self._consumer.subscribe(
            [topic], on_assign=self._given, on_revoke=self._taken, on_lost=self._taken
        )

    def poll(self, timeout_s: float) -> bool:
        """Take part for so long. Returns whether the group changed.

        Raises ConfigError when membership is refused, TopicMissingError when the topic is gone, and
        KafkaUnavailableError where only another client can go on.
        """
        self._is_changed = False
        message = self._consumer.poll(timeout_s)
        error = message.error() if message is not None else None
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            what = f"being a member of {self._group}"
            needed = on_group("Read", self._group), on_topics("Read", [self._topic])
            if problem := unless_away(error, what, *needed):
                raise problem
            _log.debug("members: %s", error.str())
        if self._is_changed:
            self._stuck.moved()
        elif self._stuck.is_to_replace("being a member"):
            self._is_lost = True
            raise KafkaUnavailableError("this client has lost its brokers")
        return self._is_changed

    def close(self) -> None:
        """Leave the group at once."""
        if self._is_lost:
            let_go(self._consumer)
        else:
            self._consumer.close()
        self.is_owner = False

    def _given(self, consumer: Consumer, partitions: list[Address]) -> None:
        self._is_changed = True
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        self.is_owner = self.is_owner or bool(partitions)

    def _taken(self, _consumer: Consumer, partitions: list[Address]) -> None:
        self._is_changed = True
        if partitions:
            self.is_owner = False
