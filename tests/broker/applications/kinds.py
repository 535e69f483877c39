"""Every kind of store in one subtopology of two topics, and one behind a topic of its own."""

from __future__ import annotations

from datetime import timedelta

from streamer import App, ProcessContext, Record, SessionWindows, Store, TumblingWindows
from streamer.serdes import Json
from tests.broker.applications import NAME, topic
from tests.broker.applications.counts import Total, add
from tests.broker.applications.folding import group

WINDOW_MS, GAP_MS = 1_000, 500
GRACE_MS = TTL_MS = 3_600_000
GRACE = timedelta(milliseconds=GRACE_MS)
RECENT = "recent"


def recent(record: Record, context: ProcessContext) -> None:
    """How many records of a key came while its row was kept, which has another key."""
    store = context.store("recent")
    count = (store.get((RECENT, record.key)) or 0) + 1
    store.put((RECENT, record.key), count)
    context.forward(value=count)


app = App(NAME)
rows = app.table(topic("rows"), key=str, value=Json(int), store="rows")
amounts = app.stream(topic("in"), key=str, value=Json(int))
amounts.join(rows, lambda amount, version: [amount, version], value=Json(list)).to(topic("joined"))
keyed = amounts.group_by_key()
keyed.aggregate(Total, add, store="totals").to(topic("totals"))
tumbling = TumblingWindows(timedelta(milliseconds=WINDOW_MS), grace=GRACE)
keyed.windowed_by(tumbling).count(store="windows", emit="every").to(topic("windows"))
sessions = SessionWindows(timedelta(milliseconds=GAP_MS), grace=GRACE)
keyed.windowed_by(sessions).count(store="sessions", emit="every").to(topic("sessions"))
kept = Store(
    "recent",
    key=Json(tuple[str, str]),
    value=Json(int),
    ttl=timedelta(milliseconds=TTL_MS),
    partition_key=lambda key: key[1],
)
amounts.process(recent, stores=[kept], value=Json(int)).to(topic("recent"))
groups = amounts.group_by(group, key=str, name="by-group")
groups.aggregate(Total, add, store="groups").to(topic("groups"))
