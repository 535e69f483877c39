"""What each client is made with: pure functions from Config to librdkafka's settings.

Users may set anything of librdkafka through `kafka={...}`, except what exactly once, assignment
and the memory of a worker rest on; that is refused with the reason and never silently overruled.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal

from streamer.config import Config, budget
from streamer.errors import ConfigError
from streamer.ids import control_topic
from streamer.kafka.entry import listener
from streamer.kafka.properties import complaint, properties

__all__ = [
    "admin",
    "candidate_consumer",
    "check",
    "control_consumer",
    "control_group",
    "feed_consumer",
    "input_consumer",
    "lifeline_consumer",
    "producer",
    "restore_consumer",
    "restore_group",
    "standby_consumer",
]

Role = Literal["consumer", "producer", "admin"]
Settings = dict[str, Any]

_ROLES: tuple[Role, ...] = ("consumer", "producer", "admin")
_CALLBACKS = frozenset({"oauth_cb", "stats_cb", "throttle_cb"})
_log = logging.getLogger("streamer.kafka.client")

_MIB = 1024 * 1024
_CRITICAL = 2
# What librdkafka keeps for each message besides its payload; measured 370 and 220.
_FETCHED_OVERHEAD_BYTES = 400
_PRODUCED_OVERHEAD_BYTES = 256
# How much larger a fetched batch of small messages (100 bytes) is once it is taken apart.
_FETCHED_EXPANSION = 5
# The longest that librdkafka allows. The loop is watched by processing_timeout_ms instead: slow
# user code must not cost the worker its membership.
_POLL_INTERVAL_MS = 86_400_000
# By default a full queue delays the next fetch by a second, during which a fast loop runs dry.
_FETCH_QUEUE_BACKOFF_MS = 10
# A broker answers a fetch that finds nothing only after this time (500 by default). Until then
# the end is not known, and a partition that is added waits, as does any other request to it.
FETCH_WAIT_MS = 100
# Restores wait for ends all the time, and read only while there is something to restore.
_RESTORE_WAIT_MS = 20
# Standbys read for ever: idle ones shall ask seldom, and busy ones not for every commit.
_STANDBY_WAIT_MS = 250
_STANDBY_BYTES_MIN = 65_536
# A thousand workers follow their assignments, which seldom come: with the wait of others each would
# cost 2 KB a second. What comes is answered at once.
FOLLOW_WAIT_MS = 6_000
# The controller of a small fleet would cost more than all its workers; but at the beginning of its
# term it waits for the ends.
CONTROLLER_WAIT_MS = 200

_COMMIT = "positions are committed together with results and state"
_ASSIGN = "Streamer assigns partitions itself"
_POSITION = "a worker always begins at the position that its state was made at"
_EXACTLY_ONCE = "processing_guarantee decides it"
_REFUSED: Mapping[str, str] = {
    "allow.auto.create.topics": "topics are checked at start, so that a misspelt one is noticed",
    "auto.commit.interval.ms": _COMMIT,
    "auto.commit.enable": _COMMIT,
    "auto.offset.reset": "set auto_offset_reset",
    "bootstrap.servers": "set bootstrap_servers",
    "client.id": "set worker_id",
    "enable.auto.commit": _COMMIT,
    "enable.auto.offset.store": _COMMIT,
    "enable.idempotence": "without it a retry could double or reorder records",
    "enable.partition.eof": "restores end at the end of a partition",
    "error_cb": "errors are handled by the worker",
    "group.id": "it is the application's id",
    "group.instance.id": "membership follows worker_id",
    "group.protocol": _ASSIGN,
    "group.protocol.type": _ASSIGN,
    "group.remote.assignor": _ASSIGN,
    "heartbeat.interval.ms": "set heartbeat_interval_ms",
    "isolation.level": "results of aborted transactions must never be read",
    "log.queue": "logs go to Python's logging",
    "log_cb": "logs go to Python's logging",
    "logger": "logs go to Python's logging",
    "max.poll.interval.ms": "set processing_timeout_ms; slow code costs no membership",
    "max.poll.records": "set max_poll_records",
    "offset.store.method": _COMMIT,
    "on_commit": _COMMIT,
    "on_delivery": "deliveries are checked at each commit",
    "partition.assignment.strategy": _ASSIGN,
    "partitioner": "a key's partition decides where its state is: it is declared per topic",
    "rebalance_cb": _ASSIGN,
    "request.required.acks": "an acknowledged record must be on all replicas",
    "session.timeout.ms": "set session_timeout_ms",
    "topic.metadata.refresh.interval.ms": "set metadata_max_age_ms",
    "transaction.timeout.ms": "set transaction_timeout_ms",
    "transactional.id": _EXACTLY_ONCE,
}


def input_consumer(config: Config) -> Settings:
    """Reads input topics by assign(). In the application's group only to commit positions there,
    where ordinary lag tools look for them."""
    queue_bytes = budget(config).input_queue_bytes
    return (
        _consumer(config, config.application_id) | _queue(queue_bytes) | _user(config, "consumer")
    )


def restore_consumer(config: Config) -> Settings:
    """Reads changelogs by assign(), beside the input."""
    settings = _consumer(config, restore_group(config))
    settings["fetch.wait.max.ms"] = _RESTORE_WAIT_MS
    queue_bytes = budget(config).restore_queue_bytes * 2 // 3
    return settings | _queue(queue_bytes) | _user(config, "consumer")


def feed_consumer(config: Config, group: str, *, shares: int = 1) -> Settings:
    """Reads changelogs to copy them, by assign(), in the group that keeps its positions. `shares`
    is how many such readers have the memory of the input between them."""
    queue_bytes = budget(config).input_queue_bytes // shares
    settings = _consumer(config, group) | _queue(queue_bytes)
    return settings | _user(config, "consumer")


def strays_group(config: Config) -> str:
    """The group that reads grown topics ahead of processing; nothing is ever committed in it."""
    return f"{config.application_id}.strays"


def standby_consumer(config: Config) -> Settings:
    """Follows changelogs by assign(), with a third of the restores' memory."""
    settings = _consumer(config, restore_group(config))
    settings["fetch.wait.max.ms"] = _STANDBY_WAIT_MS
    settings["fetch.min.bytes"] = _STANDBY_BYTES_MIN
    queue_bytes = budget(config).restore_queue_bytes // 3
    return settings | _queue(queue_bytes) | _user(config, "consumer")


def control_consumer(config: Config, *, wait_ms: int = FETCH_WAIT_MS) -> Settings:
    """Reads control topics by assign(): small compacted topics, from their beginning. Where nothing
    comes, it asks again after `wait_ms`, and learns so late where the end is."""
    settings = _consumer(config, control_group(config)) | _queue(4 * _MIB)
    settings["fetch.wait.max.ms"] = wait_ms
    return settings | _user(config, "consumer")


def restore_group(config: Config) -> str:
    """The group that reads changelogs; nothing is ever committed in it."""
    return f"{config.application_id}.restore"


def control_group(config: Config) -> str:
    """The group that reads control topics; nothing is ever committed in it."""
    return f"{config.application_id}.control"


def candidate_consumer(config: Config) -> Settings:
    """In the group in which the controller is elected, whose members are few."""
    group = control_topic(config.application_id, "members")
    # Who died is known to the others at their next heartbeat.
    return _membership(config, group, heartbeat_ms=min(config.heartbeat_interval_ms, 500))


def lifeline_consumer(config: Config, group: str) -> Settings:
    """In a worker's own group, which tells whether it lives."""
    return _membership(config, group, heartbeat_ms=config.heartbeat_interval_ms)


def _membership(config: Config, group: str, *, heartbeat_ms: int) -> Settings:
    membership = {
        "group.protocol": "classic",
        # The eager strategies hand the one partition, and so the controller's part, to another
        # member whenever anyone joins.
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": config.session_timeout_ms,
        "heartbeat.interval.ms": heartbeat_ms,
        "auto.offset.reset": "latest",
    }
    return _consumer(config, group) | _queue(_MIB) | _user(config, "consumer") | membership


def producer(config: Config, transactional_id: str | None = None) -> Settings:
    """Writes results and changelogs; without a transactional id it is idempotent."""
    # Half for payloads, half for what librdkafka keeps beside each of them.
    half = budget(config).producer_queue_bytes // 2
    settings = _client(config) | {
        "allow.auto.create.topics": False,
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        # A commit flushes, which ends the lingering; until then larger batches cost less.
        "linger.ms": 20,
        "queue.buffering.max.kbytes": max(half // 1024, 1024),
        "queue.buffering.max.messages": max(half // _PRODUCED_OVERHEAD_BYTES, 10_000),
    }
    if transactional_id is not None:
        settings["transactional.id"] = transactional_id
        settings["transaction.timeout.ms"] = config.transaction_timeout_ms
    return settings | _user(config, "producer")


def admin(config: Config) -> Settings:
    """Creates and describes topics and groups."""
    # Whoever asks says what the client heard; it would say so ten times a second.
    return _client(config) | {"log_level": _CRITICAL} | _user(config, "admin")


def check(config: Config) -> None:
    """Raise ConfigError for an entry of `kafka` that is unknown, malformed or not for users."""
    for given in config.kafka:
        name = _split(given)[1]
        _check_allowed(config, given)
        if name not in _CALLBACKS:
            _check_known(config, given)
        elif not callable(config.kafka[given]):
            raise ConfigError(
                f"{_shown(config, given)} must be a function",
                hint="give it in Python: App(..., kafka={...})",
            )


def _client(config: Config) -> Settings:
    return {
        "bootstrap.servers": config.bootstrap_servers,
        "client.id": config.worker_id or config.application_id,
        "logger": _log,
        "error_cb": listener(config.bootstrap_servers),
        "topic.metadata.refresh.interval.ms": config.metadata_max_age_ms,
        # Firewalls drop idle connections in silence.
        "socket.keepalive.enable": True,
        # After an outage the default of 10 s is what one waits for.
        "reconnect.backoff.max.ms": 2_000,
    }


def _consumer(config: Config, group: str) -> Settings:
    return _client(config) | {
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        # A position that no longer exists is an error to be answered, never a silent jump.
        "auto.offset.reset": "error",
        "max.poll.interval.ms": _POLL_INTERVAL_MS,
        "check.crcs": True,
        "fetch.wait.max.ms": FETCH_WAIT_MS,
    }


def _queue(queue_bytes: int) -> Settings:
    """Bounds of what is fetched ahead: a third each for payloads, for what is kept beside them,
    and for the response that was asked for just before the queue was full."""
    third = queue_bytes // 3
    return {
        "queued.max.messages.kbytes": max(third // 1024, 512),
        "queued.min.messages": max(third // _FETCHED_OVERHEAD_BYTES, 1_000),
        # Not below the largest message that brokers accept by default.
        "fetch.max.bytes": min(max(third // _FETCHED_EXPANSION, _MIB), 50 * _MIB),
        "fetch.queue.backoff.ms": _FETCH_QUEUE_BACKOFF_MS,
    }


def _user(config: Config, role: Role) -> Settings:
    """The user's settings for one client: those for all clients, then its own."""
    shared: Settings = {}
    own: Settings = {}
    for given, value in config.kafka.items():
        owner, name = _split(given)
        _check_allowed(config, given)
        if owner == role:
            own[name] = value
        elif owner is None and _is_for(name, role):
            shared[name] = value
    return shared | own


def _split(given: str) -> tuple[Role | None, str]:
    for role in _ROLES:
        if given.startswith(role + "."):
            return role, given.removeprefix(role + ".")
    return None, given


def _is_for(name: str, role: Role) -> bool:
    """Whether a setting concerns the client; librdkafka warns about those that do not."""
    known = properties().get(name)
    letter = {"consumer": "C", "producer": "P", "admin": "*"}[role]
    return known is None or known.role in ("*", letter)


def _shown(config: Config, given: str) -> str:
    return f"{config.source(f'kafka.{given}')}: kafka setting {given}"


def _check_allowed(config: Config, given: str) -> None:
    name = _split(given)[1]
    reason = _REFUSED.get(name) or _refused_by_canonical_name().get(_canonical(name))
    if reason:
        raise ConfigError(
            f"{_shown(config, given)} cannot be set: {reason}", hint="remove it from kafka"
        )


@cache
def _refused_by_canonical_name() -> dict[str, str]:
    """The refused settings under the name that librdkafka's aliases lead to."""
    return {_canonical(name): reason for name, reason in _REFUSED.items()}


def _canonical(name: str) -> str:
    known = properties().get(name)
    return name if known is None else known.canonical


def _check_known(config: Config, given: str) -> None:
    role, name = _split(given)
    known = properties()
    if known and name not in known:
        near = get_close_matches(name, known, n=1)
        raise ConfigError(
            f"{_shown(config, given)} is unknown to librdkafka",
            hint=f"did you mean {near[0]}?" if near else "its own reference lists all settings",
        )
    said = complaint(name, config.kafka[given])
    if said:
        raise ConfigError(f"{_shown(config, given)} is wrong: {said}")
    if role is not None and not _is_for(name, role):
        raise ConfigError(f"{_shown(config, given)} does not concern the {role} client")
