"""Totals of a topic of others, and of groups of its keys behind a topic of its own."""

from __future__ import annotations

from streamer import App
from streamer.serdes import Json
from tests.broker.applications import NAME, topic
from tests.broker.applications.counts import Total, add

GROUPS = 7


def group(key: str, _amount: int) -> str:
    """`customer-12` is in a group with six others."""
    return f"group-{int(key.rpartition('-')[2]) % GROUPS}"


app = App(NAME)
amounts = app.stream(topic("in"), key=str, value=Json(int))
amounts.group_by_key().aggregate(Total, add, store="totals").to(topic("totals"))
groups = amounts.group_by(group, key=str, name="by-group")
groups.aggregate(Total, add, store="groups").to(topic("groups"))
