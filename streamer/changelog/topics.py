"""How a changelog topic is set up, and why; and how a repartition topic is.

Compaction keeps the last row of every key, so a changelog is about as large as its state; deletion
is on besides, without any limit, because Kafka refuses to trim a topic that is `compact` only.
"""

from __future__ import annotations

from streamer.config import Config
from streamer.errors import ConfigError
from streamer.kafka.creation import TopicSpec

__all__ = ["DELETE_RETENTION_MS", "changelog_settings", "changelog_spec", "repartition_spec"]

_DAY_MS = 86_400_000
# How long removals stay readable, and so how long a local state or a snapshot may lie unused and
# still be brought up to date. A removal costs some 70 bytes, a week of them is cheap; Kafka's
# default of a day would make a worker that was away for a weekend useless.
DELETE_RETENTION_MS = 7 * _DAY_MS

_SETTINGS = {
    "cleanup.policy": "compact,delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    # Half of a changelog may be outdated rows: a restore reads twice the state at most, and
    # cleaning rewrites each byte about twice. 0.1 would read 1.1 times and rewrite ten times.
    "min.cleanable.dirty.ratio": "0.5",
    # Even where little changes, old rows go after a day.
    "max.compaction.lag.ms": str(_DAY_MS),
    "delete.retention.ms": str(DELETE_RETENTION_MS),
    # Rows carry event time themselves. With event time on the record a replay of old events would
    # close a segment per day of event time, and Kafka refuses times an hour ahead of its own.
    "message.timestamp.type": "LogAppendTime",
    # A row is larger than each record that went into it; the producer's own limit decides.
    "max.message.bytes": str(4 << 20),
}

_KEEPS_STATE = ("retention.ms", "retention.bytes")


def changelog_settings(config: Config) -> dict[str, str]:
    """Settings of every changelog: these, under what `internal_topics` sets.

    `segment.bytes` is 64 MiB by default. The newest segment is neither compacted nor trimmed, so
    smaller ones leave less to read in vain; each segment costs a broker some three open files, and
    12,000 tasks of 1 GiB are 200,000 segments over all brokers, where 1 MiB would make 12 million.
    Raises ConfigError for a setting that would let Kafka drop state.
    """
    settings = _SETTINGS | {
        "segment.bytes": str(config.changelog_segment_bytes),
        "segment.ms": str(config.changelog_segment_ms),
    }
    settings |= {name: str(value) for name, value in config.internal_topics.items()}
    policies = {part.strip() for part in settings["cleanup.policy"].split(",")}
    if policies != {"compact", "delete"}:
        raise ConfigError(
            f"{_shown(config, 'cleanup.policy')}={settings['cleanup.policy']} is not for"
            " changelogs",
            hint="leave it: without compact they grow for ever, without delete they cannot be "
            "trimmed",
        )
    for name in _KEEPS_STATE:
        if settings[name] != "-1":
            raise ConfigError(
                f"{_shown(config, name)}={settings[name]} would delete state from changelogs",
                hint=f"remove {name}; a store forgets rows by its ttl or retention",
            )
    return settings


def changelog_spec(name: str, partitions: int, config: Config) -> TopicSpec:
    """A changelog to create. Raises as `changelog_settings`."""
    copies = config.replication_factor
    return TopicSpec(name, partitions, changelog_settings(config), replication_factor=copies)


def repartition_spec(name: str, partitions: int, config: Config) -> TopicSpec:
    """A repartition topic to create. Its records stay until they were processed: nothing but a
    purge may delete them. They may come from topics of others that take larger ones than the
    brokers' default, and keep their times."""
    settings = {"max.message.bytes": _SETTINGS["max.message.bytes"]}
    settings |= {each: str(value) for each, value in config.internal_topics.items()}
    settings |= {"message.timestamp.type": "CreateTime"}
    settings |= {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    settings |= {"segment.bytes": str(config.changelog_segment_bytes)}
    return TopicSpec(name, partitions, settings, replication_factor=config.replication_factor)


def _shown(config: Config, name: str) -> str:
    return f"{config.source(f'internal_topics.{name}')}: internal_topics: {name}"
