"""Where a task goes on reading its input: from what was committed, or not at all.

Brokers forget committed offsets of a group without members after offsets.retention.minutes (7 days
by default, KIP-496). Beginning anew above state that already holds those records would count them
twice, so a lost position is only replaced where that is certain to be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamer.changelog.format import Positions
from streamer.config import Config
from streamer.errors import TaskCorruptedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Committed, InputReader
from streamer.task.active import decode_stream_time

__all__ = ["Start", "resolve_start"]


@dataclass(frozen=True, slots=True)
class Start:
    """Positions to go on from; `is_new` where some of them were never committed."""

    positions: dict[TopicPartition, int]
    stream_time_ms: int
    is_new: bool


def resolve_start(
    task: TaskId,
    partitions: tuple[TopicPartition, ...],
    *,
    reader: InputReader,
    stored: Positions,
    restored_records: int,
    has_rows: bool,
    config: Config,
) -> Start:
    """The positions at which a restored task goes on.

    `stored` is what its database held before the restore, and `restored_records` what the restore
    added to it. Raises TaskCorruptedError where a position is lost and cannot be told.
    """
    committed = reader.committed(partitions)
    times = [decode_stream_time(one.metadata) for one in committed.values()]
    if restored_records == 0:
        times.append(stored.stream_time_ms)
    positions = {
        partition: _position(
            task,
            partition,
            reader=reader,
            committed=committed,
            stored=stored if restored_records == 0 else Positions(),
            has_rows=has_rows,
            config=config,
        )
        for partition in partitions
    }
    is_new = len(committed) < len(partitions)
    return Start(positions, max(times, default=-1), is_new)


def _position(
    task: TaskId,
    partition: TopicPartition,
    *,
    reader: InputReader,
    committed: Mapping[TopicPartition, Committed],
    stored: Positions,
    has_rows: bool,
    config: Config,
) -> int:
    if partition in committed:
        return committed[partition].position
    if partition in stored.inputs:
        # The changelog held nothing newer, so the state is exactly that of this position.
        return stored.inputs[partition]
    if has_rows:
        raise TaskCorruptedError(
            f"task {task} has state, but group {config.application_id!r} has no committed offset"
            f" for {partition}",
            hint="the broker has forgotten it (offsets.retention.minutes) or somebody deleted the"
            " group. Set the offset that belongs to the state (kafka-consumer-groups"
            " --reset-offsets), or begin anew under another application id",
        )
    if config.auto_offset_reset == "none":
        raise TaskCorruptedError(
            f"group {config.application_id!r} has no committed offset for {partition}, and"
            " auto_offset_reset is none",
            hint="set auto_offset_reset to earliest or latest, or commit an offset for the group",
        )
    first, end = reader.bounds(partition)
    return first if config.auto_offset_reset == "earliest" else end
