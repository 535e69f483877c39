"""Totals per key, and nothing else: what a change of the number of tasks is tried with."""

from __future__ import annotations

from streamer import App
from streamer.serdes import Json
from tests.broker.applications import NAME, topic
from tests.broker.applications.counts import Total, add

app = App(NAME)
amounts = app.stream(topic("in"), key=str, value=Json(int)).group_by_key()
amounts.aggregate(Total, add, store="totals").to(topic("totals"))
