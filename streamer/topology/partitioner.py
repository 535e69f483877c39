"""Where a key lives: the partition that a producer chooses for the bytes of a key.

`murmur2` is the choice of Java's clients and of librdkafka's `murmur2` and `murmur2_random`;
`consistent` (CRC-32) is that of librdkafka's `consistent` and `consistent_random`, its default.
Others are functions that the application declares. Records without a key have no home, and so none
is computed for them here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from zlib import crc32

from streamer.errors import TopologyError
from streamer.layout import Partitioner
from streamer.topology.declared import declared, named

__all__ = ["Partitioner", "murmur2", "partition_of", "partitions_of"]

_MASK = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF
_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995


def murmur2(key: bytes) -> int:
    """Kafka's 32 bits, unsigned; Java shows the same bits as a signed int."""
    length = len(key)
    words, rest = divmod(length, 4)
    h = _SEED ^ length
    for k in struct.unpack_from(f"<{words}I", key):
        k = k * _MULTIPLIER & _MASK
        k = (k ^ k >> 24) * _MULTIPLIER & _MASK
        h = h * _MULTIPLIER & _MASK ^ k
    if rest:
        h = (h ^ int.from_bytes(key[-rest:], "little")) * _MULTIPLIER & _MASK
    h = (h ^ h >> 13) * _MULTIPLIER & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, count: int, partitioner: Partitioner = "murmur2") -> int:
    """The partition of one key among `count`."""
    return partitions_of((key,), count, partitioner)[0]


def partitions_of(
    keys: Iterable[bytes], count: int, partitioner: Partitioner = "murmur2"
) -> list[int]:
    """The partition of each key among `count`.

    Raises:
        TopologyError: `count` is less than one, or there is no such partitioner.
        ProcessingError: a declared one fails for a key.
    """
    if count < 1:
        raise TopologyError(f"a topic cannot have {count} partitions", hint="it has one or more")
    if partitioner == "murmur2":
        return [(murmur2(key) & _POSITIVE) % count for key in keys]
    if partitioner == "consistent":
        return [crc32(key) % count for key in keys]
    function = named(partitioner)
    assert not isinstance(function, str)
    return [declared(function, key, count) for key in keys]
