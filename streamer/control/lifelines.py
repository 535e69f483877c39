"""Whose sessions Kafka keeps. Every worker has a consumer group of its own, which its processes
alone are in: the broker ends their sessions when it hears nothing of them, whatever they do."""

from __future__ import annotations

from collections.abc import Iterable

from streamer.control.identity import Process, listed_as
from streamer.control.topics import ControlTopics
from streamer.kafka.admin import Admin

__all__ = ["sessions_kept"]

_ASKED_S = 5.0


def sessions_kept(
    admin: Admin, topics: ControlTopics, processes: Iterable[Process]
) -> frozenset[Process]:
    """Those of them that live as far as Kafka knows, also where it cannot tell of one. Of one that
    was killed it knows that after `session_timeout_ms`. Raises KafkaUnavailableError where it can
    tell of none."""
    asked = frozenset(processes)
    groups = sorted({topics.lifeline(worker) for worker, _ in asked})
    found = admin.members_of(groups, timeout_s=_ASKED_S)
    listed = (listed_as(one.client_id) for members in found.values() for one in members)
    kept = {each.process for each in listed if each is not None}
    return frozenset(one for one in asked if one in kept or topics.lifeline(one[0]) not in found)
