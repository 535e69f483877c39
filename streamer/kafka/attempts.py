"""Requests that are repeated while brokers are away, up to a deadline, and then say what was tried.

What is refused for good (a missing right, a wrong password) is not repeated: it is a ConfigError,
since only whoever set it up can mend it. Who waits says so in the log, and can be told to stop.
A client hears why it reaches nobody only when it is served, which is done here after each try.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from streamer.errors import KafkaUnavailableError, StoppedError, StreamerError
from streamer.kafka.entry import last_trouble, turned_away
from streamer.kafka.faults import as_exception, error_of, translated
from streamer.kafka.rights import Right, not_let_in

__all__ = ["PAUSE_S", "REQUEST_S", "Attempts", "reported", "unless_away"]

_log = logging.getLogger(__name__)
T = TypeVar("T")

# One request. A broker that answers does so in milliseconds; electing a leader takes seconds.
REQUEST_S = 10.0
# The same where somebody may ask to stop, which a request that waits does not hear.
_STOPPABLE_S = 2.0
_LOG_S = 5.0
PAUSE_S = 0.2

_AGAIN = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._WAIT_COORD,
        KafkaError._RETRY,
        KafkaError._MSG_TIMED_OUT,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.NOT_ENOUGH_REPLICAS,
    }
)


def reported(error: KafkaException | SystemError) -> KafkaException:
    """What the client reported. Where a callback is served behind a fatal error, the binding makes
    of it a SystemError with the error as its cause."""
    found = error.__cause__ if isinstance(error, SystemError) else error
    if not isinstance(found, KafkaException):
        raise error
    return found


def unless_away(error: KafkaError, what: str, *needed: Right) -> StreamerError | None:
    """None for trouble that passes when brokers come back, else what to raise."""
    if not error.fatal() and (error.retriable() or error.code() in _AGAIN):
        return None
    return translated(KafkaException(error), what, *needed)


class Attempts:
    """Repeats one request until `timeout_s` is over, or until `stopping` is set. `client` gives the
    one that asks, where nobody else serves its callbacks."""

    def __init__(
        self,
        timeout_s: float,
        where: str,
        *,
        stopping: threading.Event | None = None,
        client: Callable[[], Any] | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._where = where
        self._stopping = stopping
        self._client = client
        self._request_s = REQUEST_S if stopping is None else _STOPPABLE_S

    def __call__(self, what: str, call: Callable[[float], T], *needed: Right) -> T:
        """`call` gets the seconds that it may take, and `needed` is what the user must be allowed.

        Raises KafkaUnavailableError at the deadline, StoppedError when it is to stop, and at once
        what no repetition can mend.
        """
        began = logged = time.monotonic()
        count = 0
        while True:
            self._check_stop(what)
            left_s = self._timeout_s - (time.monotonic() - began)
            try:
                count += 1
                with as_exception:
                    return call(max(0.5, min(self._request_s, left_s)))
            except (KafkaException, SystemError) as error:
                found = error_of(reported(error))
                if problem := unless_away(found, what, *needed):
                    raise problem from error
                last = self._heard(what, began) or found.str()
                spent_s = time.monotonic() - began
                if spent_s + PAUSE_S >= self._timeout_s:
                    raise self._gave_up(what, count, spent_s=spent_s, last=last) from error
            except TimeoutError as error:
                last = self._heard(what, began) or "no answer"
                if (spent_s := time.monotonic() - began) >= self._timeout_s:
                    raise self._gave_up(what, count, spent_s=spent_s, last=last) from error
            if time.monotonic() - logged >= _LOG_S:
                logged = time.monotonic()
                _log.warning("waiting for brokers at %s, %s: %s", self._where, what, last)
            self._pause()

    def _heard(self, what: str, began: float) -> str:
        """What was heard of connections since. Raises ConfigError where brokers let nobody in."""
        if self._client is not None:
            with suppress(KafkaException, SystemError), as_exception:
                self._client().poll(0)
        if said := turned_away(self._where, began):
            raise not_let_in(what, said)
        return last_trouble(self._where, began)

    def _pause(self) -> None:
        if self._stopping is None:
            time.sleep(PAUSE_S)
        else:
            self._stopping.wait(PAUSE_S)

    def _check_stop(self, what: str) -> None:
        if self._stopping is not None and self._stopping.is_set():
            raise StoppedError(f"{what}: asked to stop while waiting for brokers at {self._where}")

    def _gave_up(
        self, what: str, count: int, *, spent_s: float, last: str
    ) -> KafkaUnavailableError:
        return KafkaUnavailableError(
            f"{what}: tried {count} times in {spent_s:.0f} s at {self._where}: {last}",
            hint="check that the brokers run, that bootstrap_servers names them, and that"
            " security.protocol in kafka is what they speak there",
        )
