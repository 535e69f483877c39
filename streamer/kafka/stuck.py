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
from functools import partial
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


class _Look(threading.Thread):
    """One look beside the thread that works with the client. `is_answered` when it is `done`."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        super().__init__(name="asking", daemon=True)
        self._ask = ask
        self.is_answered = True
        self.done = threading.Event()
        self.is_moot = False

    def run(self) -> None:
        try:
            self.is_answered = self._ask()
        finally:
            self.done.set()


class Stuck:
    """Asks only after nothing has moved for some seconds. `here` asks by the client itself,
    `elsewhere` by another one. With `beside` they are asked in a thread of their own, and whoever
    works with the client goes on meanwhile: it may not close it before `looking` has ended."""

    def __init__(
        self,
        here: Callable[[], bool],
        elsewhere: Callable[[], bool],
        *,
        still_s: float | None = None,
        beside: bool = False,
    ) -> None:
        self._here = here
        self._elsewhere = elsewhere
        self._still_s = still_s
        self._beside = beside
        self._look: _Look | None = None
        self.moved()

    @property
    def looking(self) -> threading.Thread | None:
        """The thread that asks by the client at this moment."""
        return None if self._look is None or self._look.done.is_set() else self._look

    def moved(self) -> None:
        self._since_s = time.monotonic()
        self._count = 0
        if self._look is not None:
            self._look.is_moot = True

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
        if self._look is None and time.monotonic() - self._since_s < still_s:
            return False
        is_answered = self._is_answered()
        if is_answered is None:
            return False
        self._since_s = time.monotonic()
        self._count = 0 if is_answered else self._count + 1
        return self._count == _ASKED

    def _is_answered(self) -> bool | None:
        """None while that is not known."""

        def ask() -> bool:
            return self._here() or not self._elsewhere()

        if not self._beside:
            return ask()
        look = self._look
        if look is None:
            self._look = _Look(ask)
            self._look.start()
            return None
        if not look.done.is_set():
            return None
        self._look = None
        return None if look.is_moot else look.is_answered


def stuck(
    config: Config,
    client: Callable[[], Any],
    topic: Callable[[], str],
    *,
    writes: bool = False,
    wait_s: float = 0.0,
    beside: bool = False,
) -> Stuck:
    """For a client that reads, or one that `writes` rows. It is asked for a topic that it knows.

    A broker answers behind what it was asked before, a fetch for which it may wait for `wait_s`.
    Where there are several, news may come from another one meanwhile: whoever must not wait for
    that has it asked `beside`, of a `client` that stays the same.
    """

    def here() -> bool:
        with suppress(KafkaException):
            client().list_topics(topic(), timeout=wait_s + ANSWER_S)
            return True
        return False

    still_s = None if writes else _QUIET_S
    elsewhere = partial(_answers_elsewhere, config)
    return Stuck(here, elsewhere, still_s=still_s, beside=beside)


def _answers_elsewhere(config: Config) -> bool:
    return answers_others(settings.admin(config))


def let_go(client: Consumer | Producer, *, after: threading.Thread | None = None) -> None:
    """Close it in a thread of its own: the end of a client that reaches no broker may take long.
    `after` is one that still uses it: a client that is closed under a call takes the process along.
    """

    def end() -> None:
        if after is not None:
            after.join()
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
