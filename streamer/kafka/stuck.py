"""Whether a client has lost its brokers for good while others reach them.

Librdkafka drops a broker that is missing in what it last heard of the cluster, as the only one is
while it comes back, and may then never find it again. Only another client can go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaException, Producer

from streamer.errors import FencedError

__all__ = ["ANSWER_S", "Stuck", "answers_others"]

# How long nothing may move before somebody asks, and asks again: a client that was cut off tries
# to connect every two seconds.
_STILL_S = 5.0
_ASKED = 2
ANSWER_S = 2.0


class Stuck:
    """Asks only after nothing has moved for some seconds. `here` asks by the client itself,
    `elsewhere` by another one."""

    def __init__(self, here: Callable[[], bool], elsewhere: Callable[[], bool]) -> None:
        self._here = here
        self._elsewhere = elsewhere
        self.moved()

    def moved(self) -> None:
        self._since_s = time.monotonic()
        self._count = 0

    def check(self, what: str) -> None:
        """Raise FencedError where brokers answered others and not this client, twice."""
        if time.monotonic() - self._since_s < _STILL_S:
            return
        self._since_s = time.monotonic()
        if self._here() or not self._elsewhere():
            self._count = 0
            return
        self._count += 1
        if self._count == _ASKED:
            raise FencedError(
                f"{what}: brokers answer other clients, but not this one",
                hint="the worker joins again with a new producer",
            )


def answers_others(made: Mapping[str, Any]) -> bool:
    """Whether brokers answer a client that is made for this question, with these settings."""
    plain = {name: value for name, value in made.items() if not name.startswith("transaction")}
    with suppress(KafkaException):
        Producer(plain | {"enable.idempotence": False}).list_topics(timeout=ANSWER_S)
        return True
    return False
