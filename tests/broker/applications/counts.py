"""One input, three stores: totals per key, and counts per window, final and after every record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from streamer import App, TumblingWindows
from streamer.serdes import Json
from tests.broker.applications import NAME, topic

WINDOW_MS = 1_000


@dataclass
class Total:
    count: int = 0
    sum: int = 0


def add(_key: str, amount: int, total: Total) -> Total:
    return Total(total.count + 1, total.sum + amount)


app = App(NAME)
amounts = app.stream(topic("in"), key=str, value=Json(int)).group_by_key()
windowed = amounts.windowed_by(TumblingWindows(timedelta(milliseconds=WINDOW_MS)))

amounts.aggregate(Total, add, store="totals").to(topic("totals"))
windowed.count(store="closed", emit="final").to(topic("closed"))
windowed.count(store="every", emit="every").to(topic("every"))
