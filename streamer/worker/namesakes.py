"""Workers of other applications that would have the same transactional id.

It is `<application>-<worker>`, and both may contain a dash: worker `eu-1` of `shop` and worker `1`
of `shop-eu` are one to Kafka, and would fence each other for ever. The id stays as it is, so that
a worker of an earlier release is fenced by it, and rights that were granted hold; who comes second
is refused.
"""

from __future__ import annotations

import logging

from streamer.errors import ConfigError, StreamerError
from streamer.ids import control_topic, is_worker_id, transactional_id
from streamer.kafka.admin import Admin

__all__ = ["namesakes", "refuse_namesakes"]

_log = logging.getLogger(__name__)

_ASKED_S = 5.0


def namesakes(application: str, worker: str) -> list[tuple[str, str]]:
    """All other pairs of an application and a worker with the same transactional id."""
    name = transactional_id(application, worker)
    cuts = [at for at, mark in enumerate(name) if mark == "-"]
    pairs = [(name[:at], name[at + 1 :]) for at in cuts]
    return [
        (one, other)
        for one, other in pairs
        # Applications are called as workers may be.
        if (one, other) != (application, worker) and is_worker_id(one) and is_worker_id(other)
    ]


def refuse_namesakes(application: str, worker: str, admin: Admin) -> None:
    """Raise ConfigError where such a worker is alive. One that starts later is refused itself; two
    that start at one moment find out as they fence each other."""
    others = namesakes(application, worker)
    if not others:
        return
    try:
        there = admin.topics()
        lifelines = {
            f"{control_topic(one, 'members')}.{other}": (one, other)
            for one, other in others
            if control_topic(one, "members") in there
        }
        found = admin.members_of(sorted(lifelines), timeout_s=_ASKED_S) if lifelines else {}
    except StreamerError as error:
        # Whoever may not look at another application has no right to its ids either.
        _log.warning("whether another worker has the same transactional id is unknown: %s", error)
        return
    for group, members in found.items():
        if members:
            one, other = lifelines[group]
            raise ConfigError(
                f"worker {worker!r} of application {application!r} would have the transactional id"
                f" {transactional_id(application, worker)!r}, as worker {other!r} of application"
                f" {one!r} has",
                hint="give one of them another worker_id",
            )
