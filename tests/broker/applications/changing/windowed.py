"""The count became one of windows, under the same name."""

from __future__ import annotations

from datetime import timedelta

from streamer import App, TumblingWindows
from streamer.serdes import Utf8
from tests.broker.applications import NAME, topic

app = App(NAME)
records = app.stream(topic("in"), key=str, value=Utf8).group_by_key()
hourly = records.windowed_by(TumblingWindows(timedelta(hours=1)))
hourly.count(store="counts").to(topic("out"))
