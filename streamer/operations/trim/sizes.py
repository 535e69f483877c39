"""About how many bytes a stretch of a changelog has, from samples of its records.

Brokers tell the size of a log to clients of other libraries alone (DescribeLogDirs is not in
confluent-kafka), so some records at two places are read and weighed. Holes that compaction left
count by themselves: what is weighed is the bytes of so many offsets. Compressed batches are told as
they are when they are read, so that is what goes at the most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from streamer.config import Config
from streamer.ids import TopicPartition
from streamer.kafka.changelog import ChangelogConsumer
from streamer.operations.samples import samples
from streamer.operations.trim.world import Tells

__all__ = ["sampled_sizes"]

Stretch = tuple[int, int]

_RECORDS = 200
_PLACES_AT_ONCE = 64
# Of a record in a batch beside key and value: lengths, attributes, and its part of the header.
_RECORD_BYTES = 12


def sampled_sizes(
    config: Config,
    stretches: Mapping[TopicPartition, Stretch],
    *,
    tells: Tells = lambda _done, _total: None,
) -> dict[TopicPartition, int]:
    """Bytes of `[start, to)` of each log, about; logs of which nothing was read are left out.
    `tells` is told of how many logs samples were read."""
    weighed: dict[TopicPartition, list[tuple[int, int]]] = defaultdict(list)
    consumer = ChangelogConsumer(config)
    try:
        for group in _groups(sorted(stretches)):
            for share in (0.0, 0.5):
                begins = {
                    place: int(stretches[place][0] + _length(stretches[place]) * share)
                    for place in group
                }
                for place, found in _weigh(consumer, begins).items():
                    weighed[place].append(found)
            tells(len(weighed), len(stretches))
    finally:
        consumer.close()
    sizes = {}
    for place, several in weighed.items():
        offsets, size = (sum(column) for column in zip(*several, strict=True))
        sizes[place] = round(size / offsets * _length(stretches[place]))
    return sizes


def _weigh(
    consumer: ChangelogConsumer, begins: Mapping[TopicPartition, int]
) -> dict[TopicPartition, tuple[int, int]]:
    """(offsets, bytes) of some records from each of these positions on."""
    reached = dict(begins)
    sizes = dict.fromkeys(begins, 0)
    for records in samples(consumer, begins, records=_RECORDS):
        reached[records.place] = records.position
        pairs = zip(records.keys, records.values, strict=True)
        sizes[records.place] += sum(
            _RECORD_BYTES + len(key or b"") + len(value or b"") for key, value in pairs
        )
    return {
        place: (reached[place] - begin, sizes[place])
        for place, begin in begins.items()
        if reached[place] > begin
    }


def _length(stretch: Stretch) -> int:
    return stretch[1] - stretch[0]


def _groups(places: Sequence[TopicPartition]) -> Iterator[Sequence[TopicPartition]]:
    for start in range(0, len(places), _PLACES_AT_ONCE):
        yield places[start : start + _PLACES_AT_ONCE]
