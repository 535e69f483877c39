"""What a new client of Kafka is in a hurry to know.

librdkafka finds out by itself who leads a partition and who coordinates a transaction. But it does
so by a timer where it has no broker yet, or nobody to ask: half a second until a transactional id
is initialised, 0.7 s until the first records of a partition come, whatever the brokers do. A look
at a topic before takes some milliseconds, and what it has found is used at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, Producer

from streamer.kafka.faults import as_exception

__all__ = ["LookedUp", "look_up"]

# Brokers that are away are waited for by whatever follows, and not here.
_LOOK_S = 1.0


def look_up(client: Consumer | Producer, topics: Iterable[str]) -> None:
    """Have the client find a broker, and who leads these topics, which exist. No trouble is raised:
    whatever the client does next has the same."""
    deadline = time.monotonic() + _LOOK_S
    with suppress(KafkaException, SystemError), as_exception:
        for topic in topics:
            if (left_s := deadline - time.monotonic()) <= 0:
                return
            client.list_topics(topic, timeout=left_s)


class LookedUp:
    """The topics that a client of Kafka was told of, each once, also where another one has taken
    its place."""

    def __init__(self) -> None:
        self._client: Consumer | None = None
        self._topics: set[str] = set()

    def ensure(self, client: Consumer, topics: Iterable[str]) -> None:
        """Look up those that this client does not know."""
        if client is not self._client:
            self._client, self._topics = client, set()
        fresh = set(topics) - self._topics
        look_up(client, sorted(fresh))
        self._topics |= fresh
