"""Some records of many logs, for what is estimated or checked by samples."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from streamer.ids import TopicPartition
from streamer.kafka.changelog import ChangelogConsumer, Records

__all__ = ["samples"]

# For all of them: the rest is not had.
_WAIT_S = 5.0


def samples(
    consumer: ChangelogConsumer, begins: Mapping[TopicPartition, int], *, records: int
) -> Iterator[Records]:
    """About so many records of each log from its position on, or what there is of them."""
    counts = dict.fromkeys(begins, 0)
    reading = set(begins)
    consumer.add(begins)
    deadline = time.monotonic() + _WAIT_S
    while reading and time.monotonic() < deadline:
        fetched = consumer.fetch(records, 100)
        for found in fetched.records:
            if found.place in reading:
                counts[found.place] += len(found.offsets)
                yield found
        ended = {place for place in reading if counts[place] >= records}
        ended |= reading & (fetched.at_end.keys() | fetched.out_of_range | fetched.failures.keys())
        if ended:
            consumer.remove(ended)
            reading -= ended
    if reading:
        consumer.remove(reading)
