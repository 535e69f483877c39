"""The order of a key's records, of producers that choose partitions by ranges of keys."""

from __future__ import annotations

from streamer import App
from streamer.serdes import Json
from tests.broker.applications import NAME, topic
from tests.broker.applications.ranges import by_range
from tests.broker.applications.sequence import Chain, link

app = App(NAME)
numbers = app.stream(topic("in"), key=str, value=Json(int), partitioner=by_range)
numbers.group_by_key().aggregate(Chain, link, store="chains", emit="every").to(topic("results"))
