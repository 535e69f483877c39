"""By which partitioner producers place the keys of a topic, as some of its newest records tell.

A topic that is given more partitions has its keys where that partitioner puts them among the new
number; if it were another one, each key's records would go on in a task without its state. So every
sampled record has to lie where the partitioner puts it among the number that the topic has now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, get_args

from streamer.config import Config
from streamer.errors import OperationRefusedError, ProcessingError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.changelog import ChangelogConsumer
from streamer.layout import ApplicationLayout, KnownPartitioner, Partitioner
from streamer.operations.samples import samples
from streamer.split.homes import Homes
from streamer.topology.declared import named

__all__ = ["Placed", "placed_by", "sampled_keys", "with_partitioner"]

_RECORDS = 200

Keys = Mapping[TopicPartition, Sequence[bytes]]


class Placed(NamedTuple):
    """`records` is how many were found where `by` puts them; 0 where nothing could be told."""

    by: Partitioner
    records: int


def sampled_keys(config: Config, admin: Admin, widths: Mapping[str, int]) -> Keys:
    """Keys of the newest records of each partition, without records that have none, or an empty
    one."""
    places = [
        TopicPartition(topic, number) for topic, width in widths.items() for number in range(width)
    ]
    starts, ends = admin.starts(places), admin.ends(places)
    begins = {
        place: max(starts[place], ends[place] - _RECORDS)
        for place in places
        if ends[place] > starts[place]
    }
    found: dict[TopicPartition, list[bytes]] = defaultdict(list)
    if not begins:
        return found
    consumer = ChangelogConsumer(config)
    try:
        for some in samples(consumer, begins, records=_RECORDS):
            # Producers of librdkafka place an empty one at random.
            found[some.place] += [key for key in some.keys if key]
    finally:
        consumer.close()
    return found


def placed_by(
    keys: Keys, widths: Mapping[str, int], expected: Partitioner, *, is_declared: bool = False
) -> dict[str, Placed]:
    """By topic; all of them have one partitioner: that which is `expected`, where it fits, and no
    other where the application declares it.

    Raises OperationRefusedError where none of these puts every key where it is, and where one
    fails for a key; TopologyError where it cannot be found here.
    """
    tried = [expected] if is_declared else get_args(KnownPartitioner)
    others: dict[Partitioner, list[tuple[TopicPartition, bytes, int]]] = {
        one: _elsewhere(keys, widths, one) for one in tried
    }
    order = sorted(others, key=lambda one: one != expected)
    by = next((one for one in order if not others[one]), None)
    if by is None:
        raise _refused(keys, widths, others)
    return {
        topic: Placed(
            by,
            # Of one partition nothing is told.
            sum(len(some) for place, some in keys.items() if place.topic == topic and width > 1),
        )
        for topic, width in widths.items()
    }


def with_partitioner(
    layout: ApplicationLayout, subtopology: int, by: Partitioner
) -> ApplicationLayout:
    """The same layout, with this partitioner for the topics of others that a subtopology reads."""
    one = layout.subtopologies[subtopology]
    inputs = {
        topic: each if each.is_internal else replace(each, partitioner=by)
        for topic, each in one.inputs.items()
    }
    changed = {**layout.subtopologies, subtopology: replace(one, inputs=inputs)}
    return replace(layout, subtopologies=changed)


def _elsewhere(
    keys: Keys, widths: Mapping[str, int], by: Partitioner
) -> list[tuple[TopicPartition, bytes, int]]:
    """Those of which it says another partition, with that one."""
    from streamer.split.vectors import tasks_of

    found = []
    for place, some in sorted(keys.items()):
        width = widths[place.topic]
        try:
            (homes,) = tasks_of(some, Homes(width, width, named(by)))
        except ProcessingError as error:
            raise OperationRefusedError(
                f"a key of {place} cannot be placed: {error.message}", hint=error.hint
            ) from error
        found += [
            (place, key, home)
            for key, home in zip(some, homes.tolist(), strict=True)
            if home != place.partition
        ]
    return found


def _refused(
    keys: Keys,
    widths: Mapping[str, int],
    others: Mapping[Partitioner, Sequence[tuple[TopicPartition, bytes, int]]],
) -> OperationRefusedError:
    count = sum(map(len, keys.values()))
    told = ", ".join(f"{len(found)} of {count} by {by}" for by, found in others.items())
    by, found = min(others.items(), key=lambda item: len(item[1]))
    place, key, home = found[0]
    return OperationRefusedError(
        f"records of {', '.join(sorted(widths))} do not lie where a partitioner puts their keys:"
        f" {told} belong elsewhere, such as one of the key {key[:64]!r} in {place}, which is to"
        f" be in partition {home} by {by}",
        hint="all producers need murmur2 (Java's; librdkafka's `murmur2_random`), or all"
        " librdkafka's `consistent_random`, or all place keys by a function that the application"
        " declares: app.stream(..., partitioner=...). Else records of such keys are not in one task"
        " even now. Or the topic was given partitions since these were written: plan again when"
        " newer ones have come",
    )
