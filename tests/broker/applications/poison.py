"""Numbers, as results by their key, and counted. Where the results' topic takes no records without
a key, or none of the future, some of them are refused."""

from __future__ import annotations

from streamer import App
from streamer.serdes import Json
from tests.broker.applications import NAME, topic

app = App(NAME)
numbers = app.stream(topic("in"), key=str, value=Json(int))
numbers.map_values(lambda one: one + 1, value=Json(int)).to(topic("out"))
numbers.map(lambda _key, one: (str(one), one), key=str, value=Json(int)).to(topic("every"))
