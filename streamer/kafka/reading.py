"""Whole topics, read once from their beginning to their end: for checks, never for processing."""

from __future__ import annotations

import time

from streamer.config import Config
from streamer.errors import KafkaUnavailableError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.consumer import InputConsumer
from streamer.record import RawBatch, Record

__all__ = ["read_topic"]

_FETCH_RECORDS, _FETCH_MS = 10_000, 200


def read_topic(source: Config | str, topic: str, *, timeout_s: float = 60.0) -> list[Record]:
    """All committed records of a topic, undecoded, partition by partition in the order of their
    offsets, up to the ends as they were at the call.

    `source` is a worker's configuration, or the bootstrap servers. Raises TopicMissingError, and
    KafkaUnavailableError when the end is not reached in time, as it is behind an open transaction.
    """
    config = source
    if isinstance(config, str):
        config = Config(application_id="reading", bootstrap_servers=config)
    admin = Admin(config)
    places = [TopicPartition(topic, number) for number in range(admin.partitions([topic])[topic])]
    positions = admin.starts(places)
    ends = admin.ends(places, "read_uncommitted")
    found: dict[TopicPartition, list[Record]] = {place: [] for place in places}
    left = {place for place in places if positions[place] < ends[place]}
    reader = InputConsumer(config)
    deadline = time.monotonic() + timeout_s
    try:
        reader.add({place: positions[place] for place in left})
        while left:
            if time.monotonic() > deadline:
                raise _unfinished(left, positions, ends)
            fetched = reader.fetch(_FETCH_RECORDS, _FETCH_MS)
            for error in fetched.failures.values():
                raise error
            for batch in fetched.batches:
                found[batch.place] += _records(batch)
                positions[batch.place] = batch.position
            positions.update(fetched.ends)
            left = {place for place in left if positions[place] < ends[place]}
    finally:
        reader.close()
    return [record for place in places for record in found[place]]


def _records(batch: RawBatch) -> list[Record]:
    columns = zip(batch.keys, batch.values, batch.timestamps, batch.offsets, strict=True)
    return [
        Record(key, value, stamp, batch.headers_at(row), batch.topic, batch.partition, offset)
        for row, (key, value, stamp, offset) in enumerate(columns)
    ]


def _unfinished(
    left: set[TopicPartition], positions: dict[TopicPartition, int], ends: dict[TopicPartition, int]
) -> KafkaUnavailableError:
    stands = ", ".join(f"{place} at {positions[place]} of {ends[place]}" for place in sorted(left))
    return KafkaUnavailableError(
        f"not read to the end in time: {stands}",
        hint="a transaction that is still open holds its readers back; a worker that died leaves"
        " one until transaction_timeout_ms, or until a worker with its id begins",
    )
