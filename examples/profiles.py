"""Customer profiles: what every customer bought, in all and per thirty days.

    streamer run examples.profiles:app --bootstrap-servers kafka:9092 --processes 2

Reads `purchases` (key: the customer's id, value: JSON) and writes `customer-profiles`. Money is in
cents: sums of whole numbers are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from streamer import App, Count, Sum, TumblingWindows


@dataclass
class Purchase:
    day: date
    cds: int
    cents: int


@dataclass
class Profile:
    orders: int = 0
    cds: int = 0
    cents: int = 0
    first_day: date = date.max
    last_day: date = date.min
    biggest_cents: int = 0


def add(customer: str, purchase: Purchase, profile: Profile) -> Profile:
    return Profile(
        orders=profile.orders + 1,
        cds=profile.cds + purchase.cds,
        cents=profile.cents + purchase.cents,
        first_day=min(profile.first_day, purchase.day),
        last_day=max(profile.last_day, purchase.day),
        biggest_cents=max(profile.biggest_cents, purchase.cents),
    )


app = App("profiles")
purchases = app.stream("purchases", key=str, value=Purchase).group_by_key()

purchases.aggregate(Profile, add, store="profiles").to("customer-profiles")

# A purchase that comes late counts for a year.
purchases.windowed_by(TumblingWindows(timedelta(days=30), grace=timedelta(days=365))).aggregate(
    {"orders": Count(), "cents": Sum("cents")},
    store="spending",
    retention=timedelta(days=730),
)
