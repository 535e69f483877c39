"""Names that people try, and the right one: typing errors, Kafka Streams' and Kafka's spellings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["advice", "nearest"]

# Kafka Streams' settings that have another name here, or no counterpart.
_ELSEWHERE = {
    "application.id": "it is the first argument of App(...)",
    "application_id": "it is the first argument of App(...), because topics and state carry it",
    "buffered.records.per.partition": "set max_poll_records; bytes are bounded by memory_bytes_max",
    "cache.max.bytes.buffering": "set memory_bytes_max, the budget for all memory of a worker",
    "client.id": "set worker_id",
    "client.rack": "set zone; to fetch from a near replica, kafka={'client.rack': ...}",
    "default.deserialization.exception.handler": "set deserialization_error",
    "default.key.serde": "give the type where it is read: app.stream(topic, key=str)",
    "default.production.exception.handler": "set production_error",
    "default.timestamp.extractor": "time is the record's own timestamp",
    "default.value.serde": "give the type where it is read: app.stream(topic, value=Purchase)",
    "deserialization.exception.handler": "set deserialization_error",
    "errors.dead.letter.queue.topic.name": "set dead_letter_topic",
    "group.instance.id": "set worker_id; a worker keeps its own in the state directory",
    "max.poll.interval.ms": "set processing_timeout_ms; slow code costs no group membership",
    "max.task.idle.ms": "set task_idle_ms",
    "num.standby.replicas": "set standby_replicas",
    "num.stream.threads": "use processes: streamer run MODULE:APP --processes N",
    "processing.exception.handler": "set processing_error",
    "production.exception.handler": "set production_error",
    "rocksdb.config.setter": "set rocksdb={...}, or rocksdb= on one store",
    "schema.registry.url": "set schema_registry={'url': ...}",
    "schema_registry_url": "set schema_registry={'url': ...}",
    "statestore.cache.max.bytes": "set memory_bytes_max, the budget for all memory of a worker",
}
_WITHOUT_COUNTERPART = frozenset(
    {
        "built.in.metrics.version",
        "default.dsl.store",
        "dsl.store.suppliers.class",
        "log.summary.interval.ms",
        "metric.reporters",
        "metrics.recording.level",
        "probing.rebalance.interval.ms",
        "repartition.purge.interval.ms",
        "state.cleanup.delay.ms",
        "task.assignor.class",
        "task.timeout.ms",
        "topology.optimization",
        "upgrade.from",
        "window.size.ms",
        "windowstore.changelog.additional.retention.ms",
    }
)
_PREFIXES = {
    "main.consumer.": "kafka={{'consumer.{rest}': ...}}",
    "restore.consumer.": "kafka={{'consumer.{rest}': ...}}",
    "consumer.": "kafka={{'consumer.{rest}': ...}}",
    "producer.": "kafka={{'producer.{rest}': ...}}",
    "admin.": "kafka={{'admin.{rest}': ...}}",
    "topic.": "internal_topics={{'{rest}': ...}}",
    "rack.aware.assignment.": "zone",
    "client.tag.": "zone",
}


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The known name that looks most like `name`, or None when nothing comes near."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)
    return found[0] if found else None


def advice(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown `name`; empty when there is nothing to say."""
    dotted = name.replace("_", ".").replace("-", ".").lower()
    for spelling in (name, dotted):
        if spelling in _ELSEWHERE:
            return _ELSEWHERE[spelling]
        if spelling in _WITHOUT_COUNTERPART:
            return "this setting of Kafka Streams has no counterpart: remove it"
    for prefix, form in _PREFIXES.items():
        if name.startswith(prefix):
            return "set " + form.format(rest=name.removeprefix(prefix))
    ours = dotted.replace(".", "_")
    candidates = list(known)
    if ours in candidates:
        return f"the name is {ours}"
    guess = nearest(ours, candidates)
    if guess:
        return f"did you mean {guess}?"
    return f"settings of the Kafka client go into kafka={{'{name}': ...}}" if "." in name else ""
