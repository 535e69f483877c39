"""Requests to the coordinators of groups, by an admin client that has no other work.

Two faults of librdkafka (2.16) are kept away here, both seen where a broker stands still:

- A request that it gives up while it still looks for the coordinator ends the process once that
  answer comes after all (`rd_kafka_enq_once_del_source_return: Assertion eonce->refcnt > 0`, its
  issue 4605). So it never gives one up: who waits does, and lets go of the client with what is
  open, at once: after REQUEST_S it would give up after all.
- A client whose connection to a coordinator was lost asks it for ever in vain. So it is replaced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamer.config import Config
from streamer.kafka import settings
from streamer.kafka.attempts import unless_away
from streamer.kafka.faults import as_exception, error_of

__all__ = ["REQUEST_S", "Coordinators"]

# The most that librdkafka takes. Nobody waits so long.
REQUEST_S = 3600.0
T = TypeVar("T")
Answers = Mapping[str, Future[Any]]


class Coordinators:
    """Asks the coordinators of groups. May be used by several threads."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._client: AdminClient | None = None

    def ask(
        self, request: Callable[[AdminClient], Answers], read: Callable[[Answers], T], wait_s: float
    ) -> T:
        """What `read` makes of the answers. It gets them after `wait_s` at the latest, those that
        have not come with TimeoutError as their result.

        `request` sends with a `request_timeout` of REQUEST_S.
        """
        client = self._present()
        answers = request(client)
        wait(answers.values(), timeout=wait_s)
        if any(_is_in_vain(answer) for answer in answers.values()):
            self._let_go(client)
        return read({group: _now(answer) for group, answer in answers.items()})

    def _present(self) -> AdminClient:
        with self._lock:
            if self._client is None:
                self._client = AdminClient(settings.admin(self._config))
            return self._client

    def _let_go(self, client: AdminClient) -> None:
        """Another one asks next. This one ends when nobody waits for it any more, and tells before
        what it has heard, such as that brokers let nobody in."""
        with suppress(KafkaException, SystemError), as_exception:
            client.poll(0)
        with self._lock:
            if self._client is client:
                self._client = None


def _is_in_vain(answer: Future[Any]) -> bool:
    if not answer.done():
        return True
    error = answer.exception()
    return isinstance(error, KafkaException) and unless_away(error_of(error), "") is None


def _now(answer: Future[Any]) -> Future[Any]:
    """The answer, or that there is none: whoever asked waits no longer."""
    if answer.done():
        return answer
    late: Future[Any] = Future()
    late.set_exception(TimeoutError("no answer"))
    return late
