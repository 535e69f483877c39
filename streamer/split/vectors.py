"""Homes of many keys and digests of many rows at once, with numpy: the same as one by one.

`Homes.home` is the truth for homes; a test compares. Python takes 2.7 us
for a key's murmur2, twice as much as all else of a row in a split; here it is a tenth of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import repeat
from operator import add
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from streamer.layout import KnownPartitioner
from streamer.split.homes import Homes
from streamer.topology.declared import declared

__all__ = ["Digests", "Numbers", "digests", "hashes", "lengths_of", "seed_of", "tasks_of"]

Numbers = NDArray[np.int64]
Digests = NDArray[np.uint64]
"""Two numbers for each row: the halves of a hash of 128 bits."""

_MULTIPLIER = np.uint32(0x5BD1E995)
_SEED = np.uint32(0x9747B28C)
_ROTATIONS = np.uint32(24), np.uint32(13), np.uint32(15)
_REST = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], dtype=np.uint32)
_POSITIVE = np.uint32(0x7FFFFFFF)


def hashes(keys: Sequence[bytes], partitioner: KnownPartitioner) -> Numbers:
    """What the partitioner takes the remainder of, never negative."""
    if partitioner == "murmur2":
        return (_murmur2(keys) & _POSITIVE).astype(np.int64)
    return np.fromiter(map(crc32, keys), np.int64, len(keys))


def tasks_of(keys: Sequence[bytes], *layouts: Homes) -> list[Numbers]:
    """The task of each key in each layout. Raises ProcessingError as `Homes.home` does."""
    hashed: dict[str, Numbers] = {}
    found = []
    for homes in layouts:
        known = homes.partitioner
        if isinstance(known, str):
            if known not in hashed:
                hashed[known] = hashes(keys, known)
            partitions = hashed[known] % homes.partitions
        else:
            each = (declared(known, key, homes.partitions) for key in keys)
            partitions = np.fromiter(each, np.int64, len(keys))
        found.append(partitions if homes.tasks == homes.partitions else partitions % homes.tasks)
    return found


def lengths_of(several: Sequence[bytes]) -> Numbers:
    return np.fromiter(map(len, several), np.int64, len(several))


def seed_of(salt: bytes) -> int:
    """Of 64 bits."""
    return int.from_bytes(hashlib.blake2b(salt, digest_size=8).digest(), "little")


def digests(
    keys: Sequence[bytes], rows: Sequence[bytes], seed: int, *, lengths: Numbers
) -> Digests:
    """XXH3 of each key with its row, of 128 bits, as two numbers (https://xxhash.com).

    Both are times 1 + twice the key's length, so no other cut between a key and its row is alike.
    """
    # No loop of Python's: it would cost as much as the hashes.
    joined = b"".join(map(xxh3_128_digest, map(add, keys, rows), repeat(seed)))
    cuts = lengths.astype(np.uint64) * np.uint64(2) + np.uint64(1)
    found: Digests = np.frombuffer(joined, dtype="<u8").reshape(-1, 2) * cuts[:, np.newaxis]
    return found


def _murmur2(keys: Sequence[bytes]) -> NDArray[np.uint32]:
    """Kafka's murmur2 of each key, word by word over all keys that have the word."""
    lengths = lengths_of(keys)
    # Three bytes more: the last word may be read behind a key's end.
    joined = b"".join(keys) + b"\0\0\0\0"
    starts = np.cumsum(lengths) - lengths
    # The word that begins at each byte: keys begin anywhere.
    words: NDArray[np.uint32] = np.ndarray(
        shape=(len(joined) - 3,), dtype="<u4", buffer=joined, strides=(1,)
    )
    shift_word, shift_first, shift_last = _ROTATIONS
    found = lengths.astype(np.uint32) ^ _SEED
    counts = lengths >> 2
    everywhere = int(counts.min()) if keys else 0
    for word in range(int(counts.max(initial=0))):
        if word < everywhere:
            mixed = words[starts + 4 * word] * _MULTIPLIER
            mixed ^= mixed >> shift_word
            mixed *= _MULTIPLIER
            found *= _MULTIPLIER
            found ^= mixed
        else:
            some = np.flatnonzero(counts > word)
            mixed = words[starts[some] + 4 * word] * _MULTIPLIER
            mixed ^= mixed >> shift_word
            mixed *= _MULTIPLIER
            found[some] = found[some] * _MULTIPLIER ^ mixed
    rests = lengths & 3
    some = np.flatnonzero(rests)
    tails = words[starts[some] + 4 * counts[some]] & _REST[rests[some]]
    found[some] = (found[some] ^ tails) * _MULTIPLIER
    found ^= found >> shift_first
    found *= _MULTIPLIER
    found ^= found >> shift_last
    return found
