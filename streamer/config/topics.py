"""Kafka's settings of a topic, as of 4.x: their names, and which values brokers take.

Brokers refuse a wrong one only when the topic is created, and say nothing of where it was given.
What a changelog may not have is another matter, which whoever makes it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from streamer.config.names import nearest
from streamer.errors import ConfigError

__all__ = ["TOPIC_SETTINGS", "TopicSetting", "check_topics"]

_INT_MAX = 2**31 - 1
_LONG_MAX = 2**63 - 1
_MIB = 1 << 20
_ELSEWHERE = {
    "replication.factor": "set replication_factor",
    "partitions": "they follow from those of the input topics, or are given to repartition()",
}


class TopicSetting(NamedTuple):
    """`expected` says in words which text `accepts` takes."""

    expected: str
    accepts: Callable[[str], bool]
    choices: tuple[str, ...] = ()


def check_topics(given: Mapping[str, Any], source: Callable[[str], str]) -> None:
    """Raise ConfigError for a name that no topic has, or a value that no broker takes. `source`
    tells where an entry of the table was given."""
    for name, value in given.items():
        declared = TOPIC_SETTINGS.get(name)
        origin = source(f"internal_topics.{name}")
        if declared is None:
            raise ConfigError(
                f"{origin}: internal_topics has no setting {name!r}", hint=_near(name)
            )
        if not declared.accepts(str(value).strip()):
            near = nearest(str(value).strip().lower(), declared.choices)
            raise ConfigError(
                f"{origin}: internal_topics: {name} must be {declared.expected}; it is {value!r}",
                hint=f"did you mean {near}?" if near else "",
            )


def _near(name: str) -> str:
    dotted = name.lower().replace("_", ".").replace("-", ".")
    if dotted in _ELSEWHERE:
        return _ELSEWHERE[dotted]
    if dotted in TOPIC_SETTINGS:
        return f"the name is {dotted}"
    near = nearest(dotted, TOPIC_SETTINGS)
    return f"did you mean {near}?" if near else "its settings are those of Kafka's topics"


def _whole(low: int, high: int = _LONG_MAX, *, unit: str = "") -> TopicSetting:
    def accepts(text: str) -> bool:
        digits = text.removeprefix("-")
        return digits.isascii() and digits.isdigit() and low <= int(text) <= high

    kind = f"a whole number of {unit}" if unit else "a whole number"
    is_open = high in (_INT_MAX, _LONG_MAX)
    bounds = f"at least {low}" if is_open else f"at least {low} and at most {high}"
    return TopicSetting(f"{kind}, {bounds}", accepts)


def _ms(low: int) -> TopicSetting:
    return _whole(low, unit="ms")


def _bytes(low: int, high: int = _INT_MAX) -> TopicSetting:
    return _whole(low, high, unit="bytes")


def _choice(*choices: str) -> TopicSetting:
    return TopicSetting("one of " + ", ".join(choices), choices.__contains__, choices)


def _is_ratio(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _are_policies(text: str) -> bool:
    return {part.strip() for part in text.split(",")} <= {"compact", "delete"}


_FLAG = TopicSetting(
    "true or false", lambda text: text.lower() in ("true", "false"), ("true", "false")
)
# Brokers and partitions, which change: whether they are right, they alone can tell.
_REPLICAS = TopicSetting("a list of partition:broker, or *", lambda _text: True)

TOPIC_SETTINGS: Mapping[str, TopicSetting] = {
    "cleanup.policy": TopicSetting(
        "compact, delete, or both with a comma", _are_policies, ("compact", "delete")
    ),
    "compression.gzip.level": TopicSetting(
        "a whole number, from 1 to 9, or -1", {"-1", *map(str, range(1, 10))}.__contains__
    ),
    "compression.lz4.level": _whole(1, 17),
    "compression.type": _choice("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
    "compression.zstd.level": _whole(-131_072, 22),
    "delete.retention.ms": _ms(0),
    "errors.deadletterqueue.group.enable": _FLAG,
    "file.delete.delay.ms": _ms(0),
    "flush.messages": _whole(1),
    "flush.ms": _ms(0),
    "follower.replication.throttled.replicas": _REPLICAS,
    "index.interval.bytes": _bytes(0),
    "leader.replication.throttled.replicas": _REPLICAS,
    "local.retention.bytes": _bytes(-2, _LONG_MAX),
    "local.retention.ms": _ms(-2),
    "max.compaction.lag.ms": _ms(1),
    "max.decompressed.message.bytes": _bytes(0),
    "max.message.bytes": _bytes(0),
    "message.timestamp.after.max.ms": _ms(0),
    "message.timestamp.before.max.ms": _ms(0),
    "message.timestamp.type": _choice("CreateTime", "LogAppendTime"),
    "min.cleanable.dirty.ratio": TopicSetting("a number from 0 to 1", _is_ratio),
    "min.compaction.lag.ms": _ms(0),
    "min.insync.replicas": _whole(1, _INT_MAX),
    "preallocate": _FLAG,
    "remote.copy.lag.bytes": _bytes(-1, _LONG_MAX),
    "remote.copy.lag.ms": _ms(-1),
    "remote.log.copy.disable": _FLAG,
    "remote.log.delete.on.disable": _FLAG,
    "remote.storage.enable": _FLAG,
    "retention.bytes": _bytes(-(2**63), _LONG_MAX),
    "retention.ms": _ms(-1),
    "segment.bytes": _bytes(_MIB),
    "segment.index.bytes": _bytes(4),
    "segment.jitter.ms": _ms(0),
    "segment.ms": _ms(1),
    "unclean.leader.election.enable": _FLAG,
}
