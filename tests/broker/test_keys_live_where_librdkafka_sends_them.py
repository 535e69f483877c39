"""Our partitioners against a real producer: each key's partition is the one it was written to."""

from __future__ import annotations

import random
from typing import Any

import pytest

from streamer.topology.partitioner import Partitioner, partition_of

PARTITIONS = 7


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("murmur2_random", "murmur2"),
        ("murmur2", "murmur2"),
        ("consistent", "consistent"),
        ("consistent_random", "consistent"),
    ],
)
def test_every_key_is_at_home(kafka: Any, names: Any, theirs: str, ours: Partitioner) -> None:
    chance = random.Random(7)
    keys = {chance.randbytes(chance.randrange(1, 40)) for _ in range(700)}
    keys |= {f"customer-{number}".encode() for number in range(300)}
    topic = names.topic("keys")
    kafka.create(topic, partitions=PARTITIONS)
    kafka.produce(topic, [(key, b"") for key in sorted(keys)], partitioner=theirs)

    found = {record.key: record.partition for record in kafka.read(topic)}

    assert found == {key: partition_of(key, PARTITIONS, ours) for key in keys}
    assert set(found.values()) == set(range(PARTITIONS))
