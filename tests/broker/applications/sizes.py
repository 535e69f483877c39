"""Texts as long as each record says, and how many of them each key had."""

from __future__ import annotations

from streamer import App
from streamer.serdes import Json, Utf8
from tests.broker.applications import NAME, topic

app = App(NAME)
lengths = app.stream(topic("in"), key=str, value=Json(int))
lengths.map_values(lambda length: "x" * length, value=Utf8).to(topic("out"))
lengths.group_by_key().count(store="counts").to(topic("counts"))
