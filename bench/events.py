"""The workload: purchases of customers, the same bytes for the same arguments on every machine.

An event is JSON as ``json.dumps`` writes it, 81 bytes, keyed by its customer. Customers follow
a Zipf law; their ranks are scattered over the ids, so that hot keys are no neighbours in a store.
Only the raw words of the bit generator are used: numpy promises those to be the same in every
version, and not what its distributions make of them. ``ts`` rises from event to event, so the last
time of a customer is also its greatest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST_TS = 1_700_000_000_000
TYPES = ("purchase", "exchange", "donation", "giftcard")
BLOCK_EVENTS = 50_000
# A prime above every count of customers that is of use: multiplying by it permutes the ids.
SCATTER = 982_451_653

Ints = NDArray[np.int64]


def key_of(number: int) -> bytes:
    """The record key of a customer."""
    return b"c%07d" % number


def number_of(key: bytes) -> int | None:
    """The customer of a record key; None for bytes that are no such key."""
    is_key = len(key) == 8 and key.startswith(b"c") and key[1:].isdigit()
    return int(key[1:]) if is_key else None


@dataclass(frozen=True)
class Workload:
    """What is generated; every field changes the bytes, except ``partitions``."""

    events: int = 2_000_000
    customers: int = 200_000
    partitions: int = 4
    zipf: float = 1.1
    seed: int = 1


@dataclass(frozen=True)
class Block:
    """Columns of consecutive events; the first one is event number ``start``."""

    start: int
    customer: Ints
    amount: Ints
    type: Ints

    def ts(self) -> Ints:
        return FIRST_TS + np.arange(self.start, self.start + len(self.customer), dtype=np.int64)

    def keys(self) -> list[bytes]:
        return [key_of(customer) for customer in self.customer.tolist()]

    def values(self) -> list[bytes]:
        """The events as JSON: one fixed-width template, so that a block is one array of bytes."""
        template = (
            b'{"customer": "c0000000", "type": "purchase", "amount": 0000, "ts": 0000000000000}'
        )
        rows = np.tile(np.frombuffer(template, dtype=np.uint8), (len(self.customer), 1))
        names = np.array([list(name.encode()) for name in TYPES], dtype=np.uint8)
        name_at = template.index(b"purchase")
        rows[:, name_at : name_at + 8] = names[self.type]
        _write_digits(rows, self.customer, end=template.index(b'", "type"'), digits=7)
        _write_digits(rows, self.amount, end=template.index(b', "ts"'), digits=4)
        _write_digits(rows, self.ts(), end=len(template) - 1, digits=13)
        joined = rows.tobytes()
        width = len(template)
        return [joined[at : at + width] for at in range(0, len(joined), width)]


def blocks(workload: Workload, *, block_events: int = BLOCK_EVENTS) -> Iterator[Block]:
    """The events in order; the size of the blocks does not change them."""
    if workload.customers > 10**7:
        raise ValueError(
            f"customers = {workload.customers:,}: ids have 7 digits, 10,000,000 at most"
        )
    cumulative = _cumulative_shares(workload)
    who = np.random.PCG64(workload.seed)
    what = np.random.PCG64(workload.seed + 1)
    for start in range(0, workload.events, block_events):
        size = min(block_events, workload.events - start)
        rank = np.searchsorted(cumulative, _uniform(who, size) * cumulative[-1], side="right")
        words = _raw(what, size)
        yield Block(
            start=start,
            customer=(np.minimum(rank, workload.customers - 1) * SCATTER) % workload.customers,
            amount=(1_000 + (words >> np.uint64(8)) % np.uint64(9_000)).astype(np.int64),
            type=(words & np.uint64(3)).astype(np.int64),
        )


@dataclass(frozen=True)
class Expected:
    """The exact result: per customer how many events, the sum of their amounts, the last time."""

    count: Ints
    sum: Ints
    last: Ints

    def customers(self) -> int:
        """How many customers have a result at all."""
        return int(np.count_nonzero(self.count))

    def of(self, key: bytes) -> tuple[int, int, int] | None:
        """The result of one key; None if no event has it."""
        customer = number_of(key)
        if customer is None or customer >= len(self.count) or not self.count[customer]:
            return None
        return int(self.count[customer]), int(self.sum[customer]), int(self.last[customer])


class Tally:
    """Adds blocks up into the expected result while they are sent."""

    def __init__(self, customers: int) -> None:
        self._count, self._sum, self._last = (np.zeros(customers, np.int64) for _ in range(3))

    def add(self, block: Block) -> None:
        np.add.at(self._count, block.customer, 1)
        np.add.at(self._sum, block.customer, block.amount)
        np.maximum.at(self._last, block.customer, block.ts())

    def expected(self) -> Expected:
        return Expected(self._count, self._sum, self._last)


def expected(workload: Workload) -> Expected:
    tally = Tally(workload.customers)
    for block in blocks(workload):
        tally.add(block)
    return tally.expected()


def _cumulative_shares(workload: Workload) -> NDArray[np.float64]:
    ranks = np.arange(1, workload.customers + 1, dtype=np.float64)
    return np.cumsum(ranks**-workload.zipf)


def _raw(bits: Any, size: int) -> NDArray[np.uint64]:
    words: NDArray[np.uint64] = bits.random_raw(size)
    return words


def _uniform(bits: Any, size: int) -> NDArray[np.float64]:
    """Floats in [0, 1) from the upper 53 bits, as every common generator makes them."""
    return (_raw(bits, size) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _write_digits(rows: NDArray[np.uint8], numbers: Ints, *, end: int, digits: int) -> None:
    rest = numbers.copy()
    for at in range(end - 1, end - 1 - digits, -1):
        rows[:, at] = ord("0") + rest % 10
        rest //= 10
