"""The first page of the documentation: an application and its test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from streamer import App, TumblingWindows
from streamer.testing import TopologyTestDriver


@dataclass
class Purchase:
    cents: int


@dataclass
class Spend:
    orders: int = 0
    cents: int = 0


def add(customer: str, purchase: Purchase, spend: Spend) -> Spend:
    return Spend(spend.orders + 1, spend.cents + purchase.cents)


app = App("spend")
purchases = app.stream("purchases", key=str, value=Purchase).group_by_key()
purchases.aggregate(Spend, add, store="totals").to("customer-totals")
purchases.windowed_by(TumblingWindows(timedelta(hours=1))).aggregate(Spend, add, store="hourly")


def test_spend_survives_a_lost_disk() -> None:
    with TopologyTestDriver(app) as driver:
        driver.send("purchases", "ann", Purchase(250), at="2026-01-01T00:10Z")
        driver.crash(lose_disk=True)
        driver.send("purchases", "ann", Purchase(100), at="2026-01-01T01:20Z")
        assert driver.store("totals")["ann"] == Spend(2, 350)
        assert driver.store("hourly").fetch("ann", "2026-01-01T01:00Z") == Spend(1, 100)
        assert driver.read("customer-totals")[-1] == ("ann", Spend(2, 350))
