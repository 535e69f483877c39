"""Counts of each key and day, passed on once the day is over."""

from __future__ import annotations

from datetime import timedelta

from streamer import App, TumblingWindows
from streamer.serdes import Json
from tests.broker.applications import NAME, topic

app = App(NAME)
counted = app.stream(topic("in"), key=str, value=Json(int)).group_by_key()
counted.windowed_by(TumblingWindows(timedelta(days=1))).count(store="daily", emit="final").to(
    topic("out")
)
