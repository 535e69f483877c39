"""Totals, windows and sessions of the same records, by code that a bad release counts twice."""

from __future__ import annotations

from datetime import timedelta

from streamer import App, SessionWindows, TumblingWindows
from streamer.serdes import Json
from tests.broker.applications import NAME, topic
from tests.broker.applications.counts import Total
from tests.broker.applications.mended import add

SPAN_MS = 10_000
KEPT = timedelta(hours=1)

app = App(NAME)
amounts = app.stream(topic("in"), key=str, value=Json(int)).group_by_key()
spans = amounts.windowed_by(TumblingWindows(timedelta(milliseconds=SPAN_MS), grace=KEPT))
visits = amounts.windowed_by(SessionWindows(timedelta(seconds=1), grace=KEPT))

amounts.aggregate(Total, add, store="totals").to(topic("totals"))
spans.aggregate(Total, add, store="spans").to(topic("spans"))
visits.count(store="visits")
