"""Every setting of a worker, declared once: name, default, unit and why.

Names are Kafka's with underscores wherever Kafka or Kafka Streams has the setting. An instance is
complete and checked: whoever holds a Config need not look at where its values came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from streamer.config.addresses import check_server, check_servers
from streamer.config.bootstrap import BootstrapSettings
from streamer.config.cluster import ClusterSettings
from streamer.config.repositories import check_repository
from streamer.config.snapshots import SnapshotSettings
from streamer.config.topics import check_topics
from streamer.config.trim import TrimSettings
from streamer.config.values import Setting, ms, parse, setting
from streamer.errors import ConfigError
from streamer.ids import is_worker_id

__all__ = ["Config", "settings"]

_MIB = 1024 * 1024
_POLICIES = ("stop", "skip", "dead_letter")


def _policy(why: str) -> Any:
    return setting("stop", why, kind="choice", choices=_POLICIES)


@dataclass(frozen=True, kw_only=True)
class Config(ClusterSettings, SnapshotSettings, BootstrapSettings, TrimSettings):
    """All settings. Raises ConfigError for a wrong value, or values that contradict each other."""

    application_id: str
    # Where values that are not defaults were given: what is checked later says it, too.
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    bootstrap_servers: str = setting(
        "127.0.0.1:9092",
        "Brokers to ask first, host:port, separated by commas; without a port it is 9092.",
        kind="text",
    )
    state_dir: Path = setting(
        Path("streamer-state"),
        "Directory of the local state. Keep it across restarts: what it holds need not be read"
        " again from the changelogs.",
        kind="path",
    )
    worker_id: str | None = setting(
        None,
        "Name of the worker in status, logs and transactions. Unset: generated once and kept in"
        " the state directory, so that a restarted worker is the same worker.",
        kind="text",
    )
    processing_guarantee: str = setting(
        "exactly_once",
        "Whether results, state and positions are committed together in Kafka transactions.",
        kind="choice",
        choices=("exactly_once", "at_least_once"),
        synonyms={"exactly_once_v2": "exactly_once"},
    )
    commit_interval_ms: int | None = ms(
        None,
        "How often work is committed. Longer folds more updates of a key into one and costs less;"
        " shorter shows results sooner. Unset: 100 with exactly once, 1000 with at least once.",
        low=1,
    )
    max_poll_records: int = setting(
        1_000,
        "Records taken from Kafka in one turn of the loop. Hundreds are cheap, since a batch is"
        " folded as a whole; more of them than fit the processor's own cache are dearer again.",
        kind="integer",
        unit="records",
        low=1,
        high=1_000_000,
    )
    poll_ms: int = ms(100, "Longest wait for records in one turn of the loop.", low=1, high=60_000)
    memory_bytes_max: int = setting(
        512 * _MIB,
        "One budget for all memory of a worker process: interpreter, RocksDB, caches and queues."
        " How it is divided is shown below.",
        kind="size",
        unit="bytes",
        low=128 * _MIB,
    )
    auto_offset_reset: str = setting(
        "earliest",
        "Where to begin in a partition for which nothing was ever committed; none refuses. It"
        " never applies to a position that was committed and has been deleted since.",
        kind="choice",
        choices=("earliest", "latest", "none"),
    )
    replication_factor: int = setting(
        -1,
        "Copies of each topic that Streamer creates; -1 takes the brokers' default.",
        kind="integer",
        low=-1,
        high=32_767,
    )
    transaction_timeout_ms: int = ms(
        60_000,
        "A transaction that is open for so long is aborted by the broker. Readers of its topics"
        " wait for it, so a worker that hangs delays them by at most this.",
        low=1_000,
        high=900_000,
    )
    application_server: str = setting(
        "",
        "host:port under which other workers and clients reach this worker over HTTP. Empty: the"
        " address on which it listens.",
        kind="text",
    )
    http_host: str = setting(
        "127.0.0.1", "Address on which HTTP listens; 0.0.0.0 for all.", kind="text"
    )
    http_port: int = setting(
        0,
        "Port of HTTP (stores, health, metrics); 0 takes a free one, -1 turns HTTP off.",
        kind="integer",
        low=-1,
        high=65_535,
    )
    processing_timeout_ms: int = ms(
        300_000,
        "When the loop has made no progress for so long, the stacks of all threads are logged and"
        " the worker reports itself unhealthy. It is not thrown out of its group.",
        low=1_000,
    )
    shutdown_timeout_ms: int = ms(
        30_000, "Longest time for a clean stop; what is not committed then is done again.", low=0
    )
    metadata_max_age_ms: int = ms(
        30_000,
        "How old the knowledge of topics may be: a topic that was grown or deleted is noticed"
        " after this time, and after 10 s at the latest.",
        low=1_000,
        high=3_600_000,
    )
    task_idle_ms: int = ms(
        0,
        "How long a task that reads several topics waits for the one that is empty, to take"
        " records in the order of their time. 0 does not wait (max.task.idle.ms).",
    )
    stray_quiet_ms: int = ms(
        600_000,
        "After a topic was given more partitions, records of a key wait for those that producers"
        " without news of it still send elsewhere, until so long none has come. It has to be"
        " longer than any producer's metadata.max.age.ms.",
        low=1_000,
    )
    deserialization_error: str = _policy("What to do with a record that cannot be decoded.")
    processing_error: str = _policy("What to do with a record for which user code raises.")
    production_error: str = _policy(
        "What to do with a result that cannot be encoded, is too large for the client"
        " (message.max.bytes in kafka) or for its topic (max.message.bytes), or is refused by its"
        " broker, such as one without a key by a compacted topic. The state of a key that its"
        " changelog does not take stops its task in any case."
    )
    dead_letter_topic: str = setting(
        "",
        "Topic for the records that the dead_letter policy puts aside, with the cause in their"
        " headers.",
        kind="text",
    )
    offsets_refresh_ms: int = ms(
        3_600_000,
        "How often the committed positions of idle partitions are written again, because brokers"
        " forget those of a group without members after offsets.retention.minutes.",
        low=1_000,
    )
    changelog_segment_bytes: int = setting(
        64 * _MIB,
        "Size of a changelog's segments. Only a closed segment is compacted or trimmed, so this"
        " is what a restore reads in vain at most; at 100 MB/s 64 MiB are under a second.",
        kind="size",
        unit="bytes",
        low=_MIB,
        high=2**31 - 1,
    )
    changelog_segment_ms: int = ms(
        86_400_000,
        "Age at which a changelog's segment is closed though it is small, so that deleted keys"
        " leave a quiet topic too.",
        low=60_000,
    )
    rocksdb: dict[str, Any] = setting(
        {}, "Options of RocksDB for every store; a store's own options win.", kind="mapping"
    )
    internal_topics: dict[str, Any] = setting(
        {},
        "Settings of the topics that Streamer creates, with Kafka's names, such as"
        " min.insync.replicas.",
        kind="mapping",
    )
    schema_registry: dict[str, Any] = setting(
        {},
        "Settings of the schema registry's client: url, basic.auth.user.info, ssl.ca.location ...",
        kind="mapping",
    )
    kafka: dict[str, Any] = setting(
        {},
        "Any setting of librdkafka by its own name. The prefixes consumer., producer. and admin."
        " restrict one to that client.",
        kind="mapping",
    )
    log_level: str = setting(
        "INFO",
        "Least severe level that is logged.",
        kind="choice",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
    )
    log_format: str = setting(
        "text",
        "text: key=value lines; json: one object per line.",
        kind="choice",
        choices=("text", "json"),
    )

    def __post_init__(self) -> None:
        for declared in settings():
            value = parse(declared, getattr(self, declared.name), self.source(declared.name))
            object.__setattr__(self, declared.name, value)
        _check_names(self)
        _check_times(self)
        check_topics(self.internal_topics, self.source)
        check_repository(self, self.source("snapshot_repository"))

    def source(self, name: str) -> str:
        """Who gave a setting, or an entry of a table such as kafka.linger.ms; for messages."""
        return self.origins.get(name, "configuration")

    @property
    def exactly_once(self) -> bool:
        return self.processing_guarantee == "exactly_once"

    @property
    def commit_ms(self) -> int:
        """The commit interval in force."""
        if self.commit_interval_ms is not None:
            return self.commit_interval_ms
        return 100 if self.exactly_once else 1_000


def settings() -> tuple[Setting, ...]:
    """All settings in the order of their declaration; `application_id` comes from the App."""
    return _SETTINGS


_SETTINGS = tuple(
    Setting(name=each.name, **each.metadata["setting"])
    for each in fields(Config)
    if "setting" in each.metadata
)


def _check_names(config: Config) -> None:
    check_servers(config.bootstrap_servers, config.source("bootstrap_servers"))
    if config.worker_id is not None and not is_worker_id(config.worker_id):
        raise ConfigError(
            f"{config.source('worker_id')}: worker_id {config.worker_id!r} is not usable",
            hint="use letters, digits, '.', '_' and '-'; at most 120",
        )
    if config.application_server:
        check_server(config.application_server, config.source("application_server"))
    names = [name for name, value in config.zone_tags if name and value]
    if len(names) != len(config.zone_tags) or len(set(names)) != len(names):
        raise ConfigError(
            f"{config.source('zone')}: zone {config.zone!r} is not a list of name=value",
            hint="widest first, each name once, such as region=eu,az=eu-1",
        )
    policies = ("deserialization_error", "processing_error", "production_error")
    asking = [name for name in policies if getattr(config, name) == "dead_letter"]
    if asking and not config.dead_letter_topic:
        raise ConfigError(
            f"{config.source(asking[0])}: {asking[0]} is dead_letter, but dead_letter_topic is"
            " empty",
            hint="name a topic for such records, or choose stop or skip",
        )


def _check_times(config: Config) -> None:
    if config.heartbeat_interval_ms * 2 > config.session_timeout_ms:
        raise ConfigError(
            f"configuration: heartbeat_interval_ms {config.heartbeat_interval_ms} is too long for"
            f" session_timeout_ms {config.session_timeout_ms}",
            hint="one lost heartbeat must not end the session: a third is usual",
        )
    if config.exactly_once and config.commit_ms * 2 > config.transaction_timeout_ms:
        raise ConfigError(
            f"configuration: commit_interval_ms {config.commit_ms} is too long for"
            f" transaction_timeout_ms {config.transaction_timeout_ms}",
            hint="a transaction is open for a whole commit interval: at most half of its timeout",
        )
