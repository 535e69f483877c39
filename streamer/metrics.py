"""Every metric of a worker: name, kind, unit and meaning, in one registry of our own.

Metrics are updated once per batch, commit or status, never per record. Labels are bounded by the
topology (task, topic, store, reason); nothing that users send becomes a label. Counters and
histograms live as long as the process; gauges of a task end with it (`forget_task`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics import MetricWrapperBase

__all__ = [
    "CONTENT_TYPE",
    "REGISTRY",
    "Metric",
    "declared",
    "expose",
    "forget_task",
    "set_task_state",
]

CONTENT_TYPE = CONTENT_TYPE_LATEST
# A second series beside every counter, which Prometheus itself does not use.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
PREFIX = "streamer"

# From a commit of a few records (about 5 ms with a transaction) to the transaction timeout.
_COMMIT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SNAPSHOT_SECONDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0)
_CHECKPOINT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_HTTP_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as declared, for the reference page. `name` is the name that is scraped."""

    name: str
    kind: str
    unit: str
    meaning: str
    labels: tuple[str, ...]


_declared: list[Metric] = []
_of_tasks: list[Gauge] = []
_M = TypeVar("_M", bound=MetricWrapperBase)


def _declare(
    kind: Callable[..., _M], name: str, unit: str, meaning: str, *labels: str, **more: Any
) -> _M:
    full = f"{PREFIX}_{name}"
    metric = kind(full, meaning, labels, registry=REGISTRY, **more)
    word = kind.__name__.lower()
    scraped = f"{full}_total" if word == "counter" else full
    _declared.append(Metric(scraped, word, unit, meaning, labels))
    if isinstance(metric, Gauge) and "task" in labels:
        _of_tasks.append(metric)
    return metric


def declared() -> tuple[Metric, ...]:
    """All metrics in the order of their declaration."""
    return tuple(_declared)


def expose() -> bytes:
    """The page that Prometheus scrapes; its type is CONTENT_TYPE."""
    return generate_latest(REGISTRY)


def forget_task(task: object) -> None:
    """Drop the gauges of a task that this worker no longer owns."""
    for gauge in _of_tasks:
        gauge.remove_by_labels({"task": str(task)})


def set_task_state(task: object, state: str) -> None:
    """Show `state` alone for the task; the names are those of the task's life cycle."""
    task_state.remove_by_labels({"task": str(task)})
    task_state.labels(str(task), state).set(1)


# Records
records_consumed = _declare(
    Counter, "records_consumed", "records", "Records taken from Kafka.", "task", "topic"
)
records_processed = _declare(
    Counter, "records_processed", "records", "Records that went through the topology.", "task"
)
records_produced = _declare(
    Counter, "records_produced", "records", "Results and re-keyed records sent.", "topic"
)
records_dropped = _declare(
    Counter,
    "records_dropped",
    "records",
    "Records left out on purpose: null_key, null_value, or late (the window was closed)."
    " What an error policy left out is counted by streamer_errors_total.",
    "task",
    "reason",
)
changelog_records = _declare(
    Counter, "changelog_records", "records", "Changes of state sent to changelogs.", "topic"
)
strays_forwarded = _declare(
    Counter,
    "strays_forwarded",
    "records",
    "Records found in a partition of a grown topic where their keys are not at home, and sent on.",
    "task",
    "topic",
)
strays_late = _declare(
    Counter,
    "strays_late",
    "records",
    "Strays that came when they were not expected any more: they were processed, maybe after"
    " younger records of their keys.",
    "task",
    "topic",
)
errors = _declare(
    Counter,
    "errors",
    "errors",
    "Errors by place (deserialization, processing, production) and by the policy applied.",
    "task",
    "place",
    "policy",
)
dead_letters = _declare(
    Counter, "dead_letters", "records", "Records put aside into the dead letter topic.", "task"
)

# Progress
lag_records = _declare(
    Gauge,
    "lag_records",
    "records",
    "End of the partition minus the committed position.",
    "task",
    "topic",
    "partition",
)
stream_time_seconds = _declare(
    Gauge, "stream_time_seconds", "s since 1970", "Largest timestamp the task has seen.", "task"
)
task_state = _declare(
    Gauge,
    "task_state",
    "1",
    "Always 1; the label says in which state the task is.",
    "task",
    "state",
)

# Commits
commits = _declare(Counter, "commits", "commits", "Commits that succeeded.")
commit_seconds = _declare(
    Histogram,
    "commit_seconds",
    "s",
    "Time of a commit: flush, transaction and store together.",
    buckets=_COMMIT_SECONDS,
)
transaction_aborts = _declare(
    Counter, "transaction_aborts", "transactions", "Transactions aborted; their work is done again."
)
fenced = _declare(
    Counter, "fenced", "times", "Times that another worker took over this one's transactional id."
)

# Restore
restore_records = _declare(
    Counter, "restore_records", "records", "Changelog records applied by restores.", "task", "store"
)
restore_bytes = _declare(
    Counter, "restore_bytes", "bytes", "Changelog bytes applied by restores.", "task", "store"
)
restore_remaining_records = _declare(
    Gauge,
    "restore_remaining_records",
    "records",
    "Changelog records still to apply.",
    "task",
    "store",
)
bootstraps = _declare(
    Counter,
    "bootstraps",
    "times",
    "Bootstraps that ended: restored (from a snapshot), chosen (another way was sooner), failed.",
    "state",
)
bootstrap_bytes = _declare(
    Counter, "bootstrap_bytes", "bytes", "Bytes of snapshots that were fetched."
)
bootstrap_remaining_bytes = _declare(
    Gauge,
    "bootstrap_remaining_bytes",
    "bytes",
    "Bytes of the snapshot still to fetch or to find on this disk.",
    "task",
)

# Snapshots
snapshots_made = _declare(
    Counter, "snapshots_made", "snapshots", "Snapshots that this worker has made.", "task"
)
snapshot_failures = _declare(
    Counter,
    "snapshot_failures",
    "times",
    "Snapshots that could not be made, and removals of old ones that failed. Each is tried again.",
    "task",
)
snapshot_sent_bytes = _declare(
    Counter,
    "snapshot_sent_bytes",
    "bytes",
    "Bytes of files that a snapshot sent; what the repository had is not counted.",
    "task",
)
snapshot_seconds = _declare(
    Histogram,
    "snapshot_seconds",
    "s",
    "Time of a snapshot, from its checkpoint until it stands in the repository.",
    buckets=_SNAPSHOT_SECONDS,
)
snapshot_checkpoint_seconds = _declare(
    Histogram,
    "snapshot_checkpoint_seconds",
    "s",
    "Time for which processing stood still while a checkpoint was made.",
    buckets=_CHECKPOINT_SECONDS,
)
snapshot_age_seconds = _declare(
    Gauge,
    "snapshot_age_seconds",
    "s",
    "Age of the newest snapshot that this worker knows of a task that it runs.",
    "task",
)

# State and memory
cache_keys = _declare(
    Gauge, "cache_keys", "keys", "Keys that the open transaction has touched.", "task"
)
store_keys = _declare(
    Gauge, "store_keys", "keys", "RocksDB's estimate of the keys in a store.", "task", "store"
)
rocksdb_bytes = _declare(
    Gauge,
    "rocksdb_bytes",
    "bytes",
    "RocksDB by part: live_files, all_files, memtables, table_readers, pending_compaction.",
    "task",
    "part",
)
rocksdb_memory_bytes = _declare(
    Gauge,
    "rocksdb_memory_bytes",
    "bytes",
    "Memory that all tasks share: block_cache (of which block_cache_pinned), write_buffer, and"
    " capacity, the limit of all.",
    "part",
)
rocksdb_level0_files = _declare(
    Gauge, "rocksdb_level0_files", "files", "Files not yet compacted, all stores.", "task"
)
rocksdb_writes_stopped = _declare(
    Gauge, "rocksdb_writes_stopped", "0 or 1", "1 while RocksDB holds back writes.", "task"
)
rocksdb_background_errors = _declare(
    Gauge, "rocksdb_background_errors", "errors", "Failed flushes and compactions.", "task"
)
memory_budget_bytes = _declare(
    Gauge, "memory_budget_bytes", "bytes", "How memory_bytes_max is divided.", "part"
)

# The worker and its cluster
controller = _declare(Gauge, "controller", "0 or 1", "1 on the worker that assigns tasks.")
members = _declare(Gauge, "members", "workers", "Live workers, as the controller sees them.")
assignments = _declare(
    Counter, "assignments", "assignments", "Assignments that this worker has taken on."
)
statuses_refused = _declare(
    Counter,
    "statuses_refused",
    "records",
    "Status records of workers that this one could not read, and passed over.",
)
assignments_refused = _declare(
    Counter,
    "assignments_refused",
    "records",
    "Assignments that this worker, as the controller, could not read, and took out after a fence.",
)
assigned_tasks = _declare(Gauge, "assigned_tasks", "tasks", "Tasks that this worker owns.")
assigned_standbys = _declare(
    Gauge, "assigned_standbys", "tasks", "Tasks of which this worker keeps a copy."
)
standby_lag_records = _declare(
    Gauge,
    "standby_lag_records",
    "records",
    "Offsets of its changelogs that a copy has yet to read, as last known.",
    "task",
)
shadow_lag_records = _declare(
    Gauge,
    "shadow_lag_records",
    "records",
    "Offsets that a copy of a task of the layout to come has yet to read, by its directory.",
    "task",
)
placement_moves = _declare(
    Gauge, "placement_moves", "moves", "Moves and copies under way, as the controller plans them."
)
placement_waiting = _declare(
    Gauge, "placement_waiting", "copies", "Copies that max_warmup_replicas holds back."
)
placement_degraded = _declare(
    Gauge,
    "placement_degraded",
    "tasks or workers",
    "Concerned by a way in which the placement is less than it should be; absent where it is not.",
    "mode",
)
loop_stuck_seconds = _declare(
    Gauge, "loop_stuck_seconds", "s", "Time since the loop last made progress."
)
http_requests = _declare(
    Counter, "http_requests", "requests", "HTTP requests answered.", "route", "status"
)
http_standby_answers = _declare(
    Counter, "http_standby_answers", "answers", "HTTP answers with rows of copies.", "route"
)
http_seconds = _declare(
    Histogram,
    "http_seconds",
    "s",
    "Time to answer an HTTP request.",
    "route",
    buckets=_HTTP_SECONDS,
)
worker_info = _declare(
    Gauge,
    "worker_info",
    "1",
    "Always 1; its labels say who this is.",
    "application",
    "worker",
    "zone",
)
