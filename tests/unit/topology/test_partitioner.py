"""Partitions as Kafka's clients compute them; a broker test compares them with a real producer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import TopologyError
from streamer.topology.partitioner import murmur2, partition_of, partitions_of

# From Kafka's own UtilsTest.testMurmur2, as Java's signed ints.
VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def plain_murmur2(data: bytes) -> int:
    """The algorithm written byte by byte, as in Java."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        k = data[start] | data[start + 1] << 8 | data[start + 2] << 16 | data[start + 3] << 24
        k = (k * m) & mask
        k ^= k >> 24
        k = (k * m) & mask
        h = (h * m) & mask
        h ^= k
    rest = data[whole:]
    if len(rest) == 3:
        h ^= rest[2] << 16
    if len(rest) >= 2:
        h ^= rest[1] << 8
    if len(rest) >= 1:
        h ^= rest[0]
        h = (h * m) & mask
    h ^= h >> 13
    h = (h * m) & mask
    return h ^ (h >> 15)


@pytest.mark.parametrize(("key", "signed"), VECTORS.items())
def test_murmur2_agrees_with_kafkas_vectors(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


@given(st.binary(max_size=64))
def test_murmur2_agrees_with_the_algorithm_written_plainly(key: bytes) -> None:
    assert murmur2(key) == plain_murmur2(key)


def test_partitions_take_the_low_31_bits() -> None:
    hashed = VECTORS[b"21"] & 0x7FFFFFFF
    assert partition_of(b"21", 7) == hashed % 7
    assert partition_of(b"21", 1_000_000_007) == hashed % 1_000_000_007


def test_consistent_is_the_crc32_of_the_key() -> None:
    # The check value of CRC-32/ISO-HDLC.
    assert partition_of(b"123456789", 1 << 32, "consistent") == 0xCBF43926
    assert partition_of(b"", 12, "consistent") == 0


@given(st.lists(st.binary(max_size=40)), st.integers(1, 1000))
def test_a_batch_gives_what_single_keys_give(keys: list[bytes], count: int) -> None:
    for partitioner in ("murmur2", "consistent"):
        found = partitions_of(keys, count, partitioner)
        assert found == [partition_of(key, count, partitioner) for key in keys]
        assert all(0 <= number < count for number in found)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(TopologyError, match="cannot have 0 partitions"):
        partition_of(b"a", 0)
    with pytest.raises(TopologyError, match="'fnv1a' is not a partitioner") as caught:
        partition_of(b"a", 3, "fnv1a")
    assert "possible: murmur2, consistent, or a function" in caught.value.hint
