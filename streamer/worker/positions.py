"""Where a task goes on reading its input: from what was committed, or not at all.

Brokers forget committed offsets of a group without members after offsets.retention.minutes (7 days
by default, KIP-496). Beginning anew above state that already holds those records would count them
twice, so a lost position is only replaced where that is certain to be right. An input that the
application did not read before has none to lose, and begins as `auto_offset_reset` says.
What stands beside the positions tells the one from the other.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from streamer.changelog.format import PASSED, Positions
from streamer.config import Config
from streamer.errors import InternalTopicError, TaskCorruptedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Committed, InputReader
from streamer.store.closing import Closing, Passed
from streamer.task.metadata import Metadata, input_mark, marks, store_mark
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["Start", "resolve_start"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """Positions to go on from; `is_new` where some of them were never committed. `times` are those
    of windowed stores, `closings` how far some of them have passed on what had closed, `passed`
    what parents of the task had passed on of that; `forwarded` is up to where strays were
    forwarded, by marks of topics, `stray_ms` when the last one came, and `is_quiet` tells whether
    the task has found that none is expected any more."""

    positions: dict[TopicPartition, int]
    stream_time_ms: int
    is_new: bool
    times: dict[str, int] = field(default_factory=dict)
    closings: dict[str, Closing] = field(default_factory=dict)
    forwarded: dict[str, int] = field(default_factory=dict)
    stray_ms: int = -1
    is_quiet: bool = False
    passed: dict[str, Passed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Past:
    """What is known of a task's past. `inputs` are those whose positions the state is exactly at;
    `marks` are of all inputs and stores that it ever had."""

    committed: Mapping[TopicPartition, Committed]
    inputs: Mapping[TopicPartition, int]
    marks: frozenset[str]
    has_rows: bool
    internal: Collection[str]
    grown: Mapping[str, str]

    def is_new(self, topic: str) -> bool:
        """Whether the task went on without this topic so far, for certain."""
        return bool(self.committed and self.marks) and input_mark(topic) not in self.marks

    def is_new_partition(self, topic: str) -> bool:
        """Whether the topic was grown by it when the task's layout was recorded: strays of it are
        known to the task, and itself is not."""
        strays = self.grown.get(topic, "")
        return self.is_new(topic) and input_mark(strays) in self.marks


def resolve_start(
    task: TaskId,
    partitions: tuple[TopicPartition, ...],
    *,
    reader: InputReader,
    stored: Positions,
    restored_records: int,
    stores: Collection[StoreSpec],
    filled: Collection[str],
    internal: Collection[str],
    grown: Mapping[str, str] = MappingProxyType({}),
    lags: Mapping[str, int] = MappingProxyType({}),
    config: Config,
) -> Start:
    """The positions at which a restored task goes on.

    `stored` is what its database held before the restore, `restored_records` what the restore
    added to it, `filled` the stores that have rows now, `internal` the topics that only the
    application writes to, and `grown` those in which strays may be, with the topics of these.
    `lags` are those of stores with final results: what is so far behind their time has closed.
    Raises TaskCorruptedError where a position is lost and cannot be told, and InternalTopicError
    for a store that was of another kind.
    """
    committed = reader.committed(partitions)
    found = [Metadata.decode(one.metadata) for one in committed.values()]
    times = [one.stream_time_ms for one in found]
    known = frozenset[str]().union(*(one.marks for one in found))
    _check_kinds(task, stores, known)
    known |= marks((place.topic for place in stored.inputs), ())
    past = _Past(committed, {}, known, bool(filled), internal, grown)
    if restored_records == 0:
        # The changelog held nothing newer, so the state is exactly that of the stored positions.
        inputs = {place: at for place, at in stored.inputs.items() if at != PASSED}
        past = replace(past, inputs=inputs)
        if max(times, default=-1) < 0:
            # Not beside times of the group: the directory may have been another subtopology's.
            times.append(stored.stream_time_ms)
    positions = {
        partition: _position(task, partition, reader=reader, past=past, config=config)
        for partition in partitions
    }
    time_ms = max(times, default=-1)
    windowed = [spec for spec in stores if spec.kind is not StoreKind.KEY_VALUE]
    own = {
        spec.name: _own_time(spec, found, stored, time_ms if spec.name in filled else -1)
        for spec in windowed
    }
    closings = _closings(windowed, found, stored, lags=lags)
    forwarded: dict[str, int] = {}
    for one in found:
        for mark, at in one.forwarded.items():
            forwarded[mark] = max(at, forwarded.get(mark, 0))
    return Start(
        positions,
        time_ms,
        len(committed) < len(partitions),
        own,
        closings,
        forwarded,
        max((one.stray_ms for one in found), default=-1),
        # Positions that did not move stay as they were committed before it was so.
        any(one.is_quiet for one in found),
        {
            spec.name: one.passed[mark]
            for spec in windowed
            for one in found
            if spec.name in closings and (mark := store_mark(spec.name, spec.kind)) in one.passed
        },
    )


def _own_time(
    spec: StoreSpec, found: Collection[Metadata], stored: Positions, otherwise_ms: int
) -> int:
    """The stream time of a windowed store. Times never go back, so the latest of it is right."""
    mark = store_mark(spec.name, spec.kind)
    known = [one.time_of(mark) for one in found] + [stored.times.get(spec.name)]
    return max((time for time in known if time is not None), default=otherwise_ms)


def _closings(
    windowed: Collection[StoreSpec],
    found: Collection[Metadata],
    stored: Positions,
    *,
    lags: Mapping[str, int],
) -> dict[str, Closing]:
    """Of the stores that have some left to pass on."""
    places = {
        spec.name: _closing(spec, found, stored, lag_ms=lags.get(spec.name)) for spec in windowed
    }
    return {store: place for store, place in places.items() if place is not None}


def _closing(
    spec: StoreSpec, found: Collection[Metadata], stored: Positions, *, lag_ms: int | None
) -> Closing | None:
    """How far a windowed store has passed on what had closed; None: all of it. What was known at
    its latest time counts, and of that what was furthest: neither ever goes back."""
    mark = store_mark(spec.name, spec.kind)
    known = [
        (one.time_of(mark), one.closings.get(mark) or _begun(one, mark, lag_ms)) for one in found
    ]
    known.append((stored.times.get(spec.name), stored.closings.get(spec.name)))
    latest_ms = max((time for time, _place in known if time is not None), default=-1)
    places = [place for time, place in known if time == latest_ms]
    if None in places:
        return None
    return max((place for place in places if place is not None), default=None)


def _begun(note: Metadata, mark: str, lag_ms: int | None) -> Closing | None:
    """Where a store begins to pass on what parents that had come less far had left."""
    if lag_ms is None or mark not in note.passed:
        return None
    return Closing(min(note.passed[mark].before_ms(lag_ms).values()), 0)


def _check_kinds(task: TaskId, stores: Collection[StoreSpec], known: frozenset[str]) -> None:
    """A changelog without a row does not tell: other partitions of it would be another kind."""
    for spec in stores:
        for kind in set(StoreKind) - {spec.kind}:
            if store_mark(spec.name, kind) in known:
                raise InternalTopicError(
                    f"store {spec.name} of task {task} was a {kind.value} store until its last"
                    f" commit, but the topology now makes it a {spec.kind.value} store",
                    hint="give the new store another name, or bring the old topology back: rows of"
                    " one kind cannot be read as another. Nothing was changed",
                )


def _position(
    task: TaskId, partition: TopicPartition, *, reader: InputReader, past: _Past, config: Config
) -> int:
    if partition in past.committed:
        return past.committed[partition].position
    # Up to where strays were forwarded is known by the group alone.
    if partition in past.inputs and partition.topic not in past.grown:
        return past.inputs[partition]
    is_new = past.is_new(partition.topic)
    if past.has_rows and not is_new:
        raise TaskCorruptedError(
            f"task {task} has state, but group {config.application_id!r} has no committed offset"
            f" for {partition}",
            hint=_hint(partition, past),
        )
    if partition.topic in past.internal or past.is_new_partition(partition.topic):
        # Whoever re-keyed the records that wait here has committed that it read them; and what a
        # partition holds that came with the layout, nobody has read.
        return reader.bounds(partition)[0]
    if config.auto_offset_reset == "none":
        raise TaskCorruptedError(
            f"group {config.application_id!r} has no committed offset for {partition}, and"
            " auto_offset_reset is none",
            hint="set auto_offset_reset to earliest or latest, or commit an offset for the group",
        )
    first, end = reader.bounds(partition)
    position = first if config.auto_offset_reset == "earliest" else end
    if is_new:
        _log.warning(
            "task %s: %s is a new input of an application that has run before; it is read from"
            " offset %d (auto_offset_reset = %s)",
            task,
            partition,
            position,
            config.auto_offset_reset,
        )
    return position


def _hint(partition: TopicPartition, past: _Past) -> str:
    remedy = (
        "Set the offset that belongs to the state (kafka-consumer-groups --reset-offsets), or"
        " begin anew under another application id"
    )
    if past.committed and not past.marks:
        return (
            f"nothing tells whether {partition.topic} is a new input or its position was lost"
            f" (offsets.retention.minutes). {remedy}"
        )
    return (
        "the broker has forgotten it (offsets.retention.minutes), somebody deleted the group, or"
        f" the application was changed so that {partition.topic} now fills a store that other input"
        f" has filled: then the state does not fit, and no offset will do. {remedy}"
    )
