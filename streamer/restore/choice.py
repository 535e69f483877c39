"""Which way brings a task's state up to date soonest. Pure: from what is known to one choice.

    tail        read on from the state that is here
    changelog   read the changelogs from their begin, into an empty database
    delta       fetch the files of a snapshot that this disk lacks, and read on from there
    full        fetch all of them

A way that would end in an incomplete state is no way: whoever gives the facts says so with None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

__all__ = ["Choice", "Facts", "Offer", "Rates", "Way", "choose"]

# sha256 of files that are here already, on one core.
HASH_BYTES_PER_S = 400 << 20


class Way(Enum):
    """In the order of preference where two take as long."""

    TAIL = "tail"
    CHANGELOG = "changelog"
    DELTA = "delta"
    FULL = "full"

    @property
    def fetches(self) -> bool:
        return self in (Way.DELTA, Way.FULL)


@dataclass(frozen=True, slots=True)
class Offer:
    """The newest snapshot that can be restored from. `reusable_bytes` of its files seem to be on
    this disk; `left_offsets` are to be read after it."""

    stem: str
    size_bytes: int
    reusable_bytes: int
    left_offsets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`local_offsets` are to be read after the state that is here, None where it cannot be
    continued; `whole_offsets` from the changelogs' begins, None where records were deleted there.
    """

    local_offsets: int | None
    whole_offsets: int | None
    offer: Offer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What is expected of this host. `gain_s` is what a snapshot has to save to be worth it, where
    there is another way."""

    records_per_s: int
    bytes_per_s: int
    gain_s: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The way, and how long it is expected to take."""

    way: Way
    seconds: float


def choose(facts: Facts, rates: Rates) -> Choice | None:
    """The soonest way; None where there is none."""
    ways = list(_ways(facts, rates))
    if not ways:
        return None
    with_gain = {one: one.seconds + rates.gain_s * one.way.fetches for one in ways}
    order = list(Way)
    return min(ways, key=lambda one: (with_gain[one], order.index(one.way)))


def _ways(facts: Facts, rates: Rates) -> Iterator[Choice]:
    if facts.local_offsets is not None:
        yield Choice(Way.TAIL, facts.local_offsets / rates.records_per_s)
    if facts.whole_offsets is not None:
        yield Choice(Way.CHANGELOG, facts.whole_offsets / rates.records_per_s)
    offer = facts.offer
    if offer is not None:
        reusable = min(offer.reusable_bytes, offer.size_bytes)
        seconds = (
            (offer.size_bytes - reusable) / rates.bytes_per_s
            + reusable / HASH_BYTES_PER_S
            + offer.left_offsets / rates.records_per_s
        )
        yield Choice(Way.DELTA if reusable else Way.FULL, seconds)
