"""What the clients of this process hear of their connections to brokers, and nobody else does.

A password or a certificate that is refused, a port where nobody listens: librdkafka tells them to
a callback, and tries again. The request that waits meanwhile learns only that its time is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import KafkaError

__all__ = ["is_of_member", "last_trouble", "listener", "turned_away"]

# Connections are tried at least every two seconds, with a pause after a refused password.
_AGAIN_S = 5.0
_TIMES = 3
_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
    }
)


class _Trouble(NamedTuple):
    """The last one, and how many of its kind came one after the other since when."""

    said: str
    is_refusal: bool
    since_s: float
    at_s: float
    times: int = 1


_troubles: dict[str, _Trouble] = {}


def listener(where: str) -> Callable[[KafkaError], None]:
    """The `error_cb` of a client of these brokers."""

    def heard(error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            return  # it follows the reason
        now_s, is_refusal = time.monotonic(), _is_refusal(error)
        last = _troubles.get(where)
        if last is None or last.is_refusal != is_refusal or now_s - last.at_s > _AGAIN_S:
            last = _Trouble(error.str(), is_refusal, now_s, now_s, times=0)
        _troubles[where] = last._replace(said=error.str(), at_s=now_s, times=last.times + 1)

    return heard


def turned_away(where: str, since_s: float) -> str:
    """Why these brokers do not let this process in, if they refused again and again since then;
    once may be a broker that is just being stopped."""
    last = _troubles.get(where)
    if last is None or not last.is_refusal or time.monotonic() - last.at_s > _AGAIN_S:
        return ""
    return last.said if last.times >= _TIMES and last.at_s > since_s else ""


def last_trouble(where: str, since_s: float) -> str:
    """The last that was heard since then; empty when nothing was."""
    last = _troubles.get(where)
    return last.said if last is not None and last.at_s >= since_s else ""


def is_of_member(error: KafkaError) -> bool:
    """Whether it is about a broker that is known as one of the cluster, and not about an address by
    which a client looks for the first one: that may be dead for long without harm to anybody."""
    return "/bootstrap" not in error.str()


def _is_refusal(error: KafkaError) -> bool:
    # The end of a broker breaks handshakes too; a certificate is refused for good.
    is_certificate = error.code() == KafkaError._SSL and "certificate" in error.str()
    return is_certificate or error.code() in _REFUSED
