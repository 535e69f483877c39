"""A second input was added to the count."""

from __future__ import annotations

from streamer import App
from streamer.serdes import Utf8
from tests.broker.applications import NAME, topic

app = App(NAME)
added = app.stream(topic("added"), key=str, value=Utf8)
both = app.stream(topic("in"), key=str, value=Utf8).merge(added)
both.group_by_key().count(store="counts").to(topic("out"))
