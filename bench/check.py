"""Compares the output of a system with the expected result: every key, every field.

The output is read as a consumer of committed data reads it, and the last value of a key counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from confluent_kafka import Consumer, KafkaError, TopicPartition

from bench.events import Expected

READ_RECORDS = 10_000
SILENCE_S = 60.0


class Result(msgspec.Struct):
    """What each system writes per customer, as JSON; further fields are ignored."""

    count: int
    sum: int
    last: int


@dataclass(frozen=True)
class Verdict:
    """How many results there were, and what is wrong with the last ones (empty: nothing)."""

    results: int
    faults: tuple[str, ...]

    @property
    def correct(self) -> bool:
        return not self.faults


def check_topic(bootstrap: str, topic: str, *, expected: Expected) -> Verdict:
    last: dict[bytes, bytes] = {}
    results = 0
    for keys, values in read_committed(bootstrap, topic):
        results += len(keys)
        last.update(zip(keys, values, strict=True))
    return Verdict(results, compare(last, expected))


def compare(last: dict[bytes, bytes], expected: Expected) -> tuple[str, ...]:
    """The differences in words, three of each kind at the most."""
    decode = msgspec.json.Decoder(Result).decode
    wrong: list[str] = []
    for key, value in last.items():
        result = decode(value)
        if (result.count, result.sum, result.last) != expected.of(key):
            wrong.append(f"{key.decode()}: {result}, expected {expected.of(key)}")
    missing = expected.customers() - sum(expected.of(key) is not None for key in last)
    absent = [f"{missing:,} customers have no result"] if missing else []
    more = [f"{len(wrong):,} results are wrong"] if wrong else []
    return (*absent, *more, *wrong[:3])


def read_committed(bootstrap: str, topic: str) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """All committed records of a topic, as batches of keys and values.

    Raises RuntimeError if the end of a partition is not reached: an open transaction holds it.
    """
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-check",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 3,
        }
    )
    try:
        waiting = set(reader.list_topics(topic, timeout=30).topics[topic].partitions)
        reader.assign([TopicPartition(topic, partition, 0) for partition in waiting])
        silent = 0.0
        while waiting:
            messages = reader.consume(READ_RECORDS, timeout=0.5)
            silent = 0.0 if messages else silent + 0.5
            if silent > SILENCE_S:
                raise RuntimeError(f"{topic}: partitions {sorted(waiting)} have no reachable end")
            records = []
            for message in messages:
                error = message.error()
                if error is None:
                    records.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(message.partition())
                else:
                    raise RuntimeError(f"{topic}: {error.str()}")
            yield [m.key() or b"" for m in records], [m.value() or b"" for m in records]
    finally:
        reader.close()
