"""Readings of devices that a table knows, counted in windows that are passed on once closed."""

from __future__ import annotations

from datetime import timedelta

from streamer import App, TumblingWindows
from streamer.serdes import Json
from tests.broker.applications import NAME, topic

WINDOW_MS = 10_000

app = App(NAME)
devices = app.table(topic("devices"), key=str, value=str, store="devices")
readings = app.stream(topic("in"), key=str, value=Json(int)).join(
    devices, lambda reading, _device: reading, value=int
)
readings.group_by_key().windowed_by(TumblingWindows(timedelta(milliseconds=WINDOW_MS))).count(
    store="closed", emit="final"
).to(topic("out"))
