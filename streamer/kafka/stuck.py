"""Whether a client has lost its brokers for good while others reach them.

Librdkafka drops a broker that is missing in what it last heard of the cluster, as the only one is
while it comes back, and may then never find it again (its issue 5301). Only another client
can go on: who reads replaces its own and is where it was, who writes in transactions begins anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer

from streamer.config import Config
from streamer.errors import FencedError
from streamer.kafka import settings

__all__ = ["ANSWER_S", "Stuck", "answers_others", "let_go", "stuck"]

_log = logging.getLogger(__name__)

# How long nothing may move before somebody asks, and asks again: a client that was cut off tries
# to connect every two seconds.
_STILL_S = 5.0
_ASKED = 2
ANSWER_S = 2.0
# Who reads may find nothing for long: then one small request in this time.
_QUIET_S = 15.0


class Stuck:
    """Asks only after nothing has moved for some seconds. `here` asks by the client itself,
    `elsewhere` by another one."""

    def __init__(
        self,
        here: Callable[[], bool],
        elsewhere: Callable[[], bool],
        *,
        still_s: float | None = None,
    ) -> None:
        self._here = here
        self._elsewhere = elsewhere
        self._still_s = still_s
        self.moved()

    def moved(self) -> None:
        self._since_s = time.monotonic()
        self._count = 0

    def check(self, what: str) -> None:
        """Raise FencedError where brokers answered others and not this client, twice."""
        if self._is_lost():
            raise FencedError(
                f"{what}: brokers answer other clients, but not this one",
                hint="the worker joins again with a new producer",
            )

    def is_to_replace(self, what: str) -> bool:
        """The same for whoever makes a new client at once."""
        if not self._is_lost():
            return False
        _log.warning("%s: brokers answer other clients, but not this one: it is replaced", what)
        self.moved()
        return True

    def _is_lost(self) -> bool:
        still_s = _STILL_S if self._count or self._still_s is None else self._still_s
        if time.monotonic() - self._since_s < still_s:
            return False
        is_answered = self._here() or not self._elsewhere()
        self._since_s = time.monotonic()
        self._count = 0 if is_answered else self._count + 1
        return self._count == _ASKED


def stuck(
    config: Config,
    client: Callable[[], Any],
    topic: Callable[[], str],
    *,
    writes: bool = False,
    wait_s: float = 0.0,
) -> Stuck:
    """For a client that reads, or one that `writes` rows. It is asked for a topic that it knows.

    A broker answers behind what it was asked before, a fetch for which it may wait for `wait_s`.
    """

    def here() -> bool:
        with suppress(KafkaException):
            client().list_topics(topic(), timeout=wait_s + ANSWER_S)
            return True
        return False

    still_s = None if writes else _QUIET_S
    return Stuck(here, lambda: answers_others(settings.admin(config)), still_s=still_s)


def let_go(client: Consumer | Producer) -> None:
    """Close it in a thread of its own: the end of a client that reaches no broker may take long."""

    def end() -> None:
        with suppress(KafkaException, RuntimeError, SystemError):
            client.close()

    threading.Thread(target=end, name="closing", daemon=True).start()


def answers_others(made: Mapping[str, Any]) -> bool:
    """Whether brokers answer a client that is made for this question, with these settings."""
    plain = {name: value for name, value in made.items() if not name.startswith("transaction")}
    with suppress(KafkaException):
        Producer(plain | {"enable.idempotence": False}).list_topics(timeout=ANSWER_S)
        return True
    return False
