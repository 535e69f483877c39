"""Two counts that have nothing to do with each other."""

from __future__ import annotations

from streamer import App
from streamer.serdes import Utf8
from tests.broker.applications import NAME, topic

app = App(NAME)
for each in ("in", "added"):
    counted = app.stream(topic(each), key=str, value=Utf8).group_by_key().count(store=f"of-{each}")
    counted.to(topic("out"))
