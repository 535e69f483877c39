"""How it began: a count of each key."""

from __future__ import annotations

from streamer import App
from streamer.serdes import Utf8
from tests.broker.applications import NAME, topic

app = App(NAME)
app.stream(topic("in"), key=str, value=Utf8).group_by_key().count(store="counts").to(topic("out"))
