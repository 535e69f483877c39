"""The same numbers by a plain polars computation, and what differs from them.

Nothing of Streamer is used here: purchases go in as columns, aggregates come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import polars

from demo.cdnow import Purchase

__all__ = ["Answer", "Profile", "Spent", "answer", "differences"]

_WINDOW_DAYS = 30
_DAY_MS = 86_400_000

Row = TypeVar("Row")


class Profile(NamedTuple):
    """What the application keeps of a customer; days as they stand in its JSON."""

    orders: int
    cds: int
    cents: int
    first_day: str
    last_day: str
    biggest_cents: int


class Spent(NamedTuple):
    """What the application keeps of a customer's thirty days."""

    orders: int
    cents: int


class Answer(NamedTuple):
    """By customer, and by customer and the time in ms at which the window begins."""

    profiles: dict[int, Profile]
    spending: dict[tuple[int, int], Spent]


def answer(purchases: Iterable[Purchase]) -> Answer:
    frame = polars.DataFrame(list(purchases), schema=list(Purchase._fields), orient="row")
    profiles = frame.group_by("customer").agg(
        polars.len(),
        polars.col("cds").sum(),
        polars.col("cents").sum(),
        polars.col("day").min().dt.to_string().alias("first_day"),
        polars.col("day").max().dt.to_string().alias("last_day"),
        polars.col("cents").max().alias("biggest_cents"),
    )
    number = polars.col("day").to_physical().cast(polars.Int64) // _WINDOW_DAYS
    window = (number * _WINDOW_DAYS * _DAY_MS).alias("window")
    spending = frame.group_by("customer", window).agg(polars.len(), polars.col("cents").sum())
    return Answer(
        {customer: Profile(*row) for customer, *row in profiles.iter_rows()},
        {(customer, start): Spent(*row) for customer, start, *row in spending.iter_rows()},
    )


def differences(
    what: str, expected: Mapping[Row, object], found: Mapping[Row, object], *, at_most: int = 5
) -> list[str]:
    """The first differences as lines, and how many more there are; empty if all is equal."""
    different = [
        key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)
    ]
    lines = [
        f"{what} of {key}: {found.get(key, 'none')}, by polars {expected.get(key, 'none')}"
        for key in sorted(different)[:at_most]  # type: ignore[type-var]
    ]
    if len(different) > at_most:
        lines.append(f"and {len(different) - at_most:,} more of {len(expected):,}")
    return lines
