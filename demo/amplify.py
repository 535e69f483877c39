"""Longer streams from the history: as many customers and as many events as wanted.

Each copy of the history has customers of its own and begins at another day of it, so that copies
differ on every day and the load is even. When a copy reaches the end of the history it goes on
at its beginning, with later days. Days never go back. The same arguments give the same stream, and
a longer one begins with the shorter; one copy and one turn are the history itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from itertools import count, islice
from typing import TypeVar

from demo.cdnow import CUSTOMERS, FIRST_DAY, LAST_DAY, Purchase

__all__ = ["amplify", "key_of", "records"]

_DAYS = (LAST_DAY - FIRST_DAY).days + 1
# Copies begin 89 days apart: no divisor of the 546 days, so the first 546 copies all differ.
_SHIFT_DAYS = 89
_EPOCH = date(1970, 1, 1)
_DAY_MS = 86_400_000

Part = TypeVar("Part")


def amplify(
    history: Sequence[Purchase], *, copies: int, events: int | None = None
) -> Iterator[Purchase]:
    """The first `events` purchases of `copies` times as many customers; by default one turn."""
    days = _by_day(history, lambda purchase: purchase)
    stream = (
        Purchase(first + customer, day, cds, cents)
        for day, first, purchases in _shares(days, copies)
        for customer, _day, cds, cents in purchases
    )
    return islice(stream, copies * len(history) if events is None else events)


def records(
    history: Sequence[Purchase], *, copies: int, events: int | None = None
) -> Iterator[tuple[bytes, bytes, int]]:
    """The same as `examples.profiles` reads it: key, value, and time in ms since 1970, which is
    the beginning of the day. A million in about a second."""
    days = _by_day(history, lambda one: (one.customer, b'%d,"cents":%d}' % (one.cds, one.cents)))
    stream = (
        (b"%05d" % (first + customer), head + tail, timestamp_ms)
        for day, first, purchases in _shares(days, copies)
        for head, timestamp_ms in (_of_day(day),)
        for customer, tail in purchases
    )
    return islice(stream, copies * len(history) if events is None else events)


def key_of(customer: int) -> str:
    """The customer's id as the history writes it, with more digits where there are more."""
    return f"{customer:05d}"


def _of_day(day: date) -> tuple[bytes, int]:
    """What all records of a day begin with, and their time."""
    return f'{{"day":"{day.isoformat()}","cds":'.encode(), (day - _EPOCH).days * _DAY_MS


def _by_day(history: Sequence[Purchase], part: Callable[[Purchase], Part]) -> list[list[Part]]:
    days: list[list[Part]] = [[] for _ in range(_DAYS)]
    for purchase in history:
        days[(purchase.day - FIRST_DAY).days].append(part(purchase))
    return days


def _shares(days: Sequence[list[Part]], copies: int) -> Iterator[tuple[date, int, list[Part]]]:
    """Endless: each day with each copy's share of it, and what to add to its customers' numbers."""
    if copies < 1 or not any(days):
        return
    for passed in count():
        day = FIRST_DAY + timedelta(days=passed)
        for copy in range(copies):
            yield day, copy * CUSTOMERS, days[(passed + copy * _SHIFT_DAYS) % _DAYS]
