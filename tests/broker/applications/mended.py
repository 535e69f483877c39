"""Totals per key, by code that a bad release counts twice with, and a later one does not."""

from __future__ import annotations

import os

from streamer import App
from streamer.serdes import Json
from tests.broker.applications import NAME, topic
from tests.broker.applications.counts import Total

BAD = "STREAMER_TEST_BAD_RELEASE"


def add(_key: str, amount: int, total: Total) -> Total:
    times = 2 if os.environ.get(BAD) else 1
    return Total(total.count + times, total.sum + times * amount)


app = App(NAME)
amounts = app.stream(topic("in"), key=str, value=Json(int)).group_by_key()
amounts.aggregate(Total, add, store="totals").to(topic("totals"))
