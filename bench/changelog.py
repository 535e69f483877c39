"""The changelog of the restore benchmark: every key is updated equally often, in scattered order.

A record has 500 bytes, its key of 8 included. Values cannot be compressed and are all different;
what a value must be follows from its key and round, so a restored store is checked without a copy.
Values have the form of Streamer's rows; to the other systems they are just bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.events import BLOCK_EVENTS, FIRST_TS, SCATTER, key_of, number_of
from streamer.store.keys import ROW_HEAD_BYTES, row

RECORD_BYTES = 500
_HEAD = struct.Struct("<qq")
_FILLER_BYTES = RECORD_BYTES - 8 - ROW_HEAD_BYTES - _HEAD.size
_POOL = np.random.PCG64(7).random_raw(1 << 17).astype("<u8").tobytes()
_STARTS = len(_POOL) - _FILLER_BYTES


@dataclass(frozen=True)
class Changelog:
    """``records`` is a multiple of ``keys``: how often each is updated."""

    records: int = 2_000_000
    keys: int = 200_000
    partitions: int = 4

    def __post_init__(self) -> None:
        if self.records % self.keys:
            raise ValueError(f"{self.records:,} records are no multiple of {self.keys:,} keys")

    @property
    def rounds(self) -> int:
        return self.records // self.keys

    def final(self, key: bytes) -> bytes | None:
        """The value that a restored store holds for a key; None for a key of no changelog."""
        number = number_of(key)
        if number is None or number >= self.keys:
            return None
        return value(number, self.rounds - 1)


def value(number: int, round_: int) -> bytes:
    at = (number * 7_919 + round_ * 104_729) % _STARTS
    return row(FIRST_TS, _HEAD.pack(number, round_) + _POOL[at : at + _FILLER_BYTES])


def blocks(changelog: Changelog) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """All records in order, as batches of keys and values."""
    for round_ in range(changelog.rounds):
        for start in range(0, changelog.keys, BLOCK_EVENTS):
            ranks = range(start, min(start + BLOCK_EVENTS, changelog.keys))
            numbers = [(rank * SCATTER + round_) % changelog.keys for rank in ranks]
            yield [key_of(number) for number in numbers], [value(n, round_) for n in numbers]
