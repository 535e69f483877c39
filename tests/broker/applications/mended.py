"""Totals per key, by code that a bad release counts twice with, and a later one does not; and how
often each key came, in rows under other keys than the records'."""

from __future__ import annotations

import os

from streamer import App, ProcessContext, Record, Store
from streamer.serdes import Json
from tests.broker.applications import NAME, topic
from tests.broker.applications.counts import Total

BAD = "STREAMER_TEST_BAD_RELEASE"


def times() -> int:
    return 2 if os.environ.get(BAD) else 1


def add(_key: str, amount: int, total: Total) -> Total:
    return Total(total.count + times(), total.sum + times() * amount)


def came(record: Record, context: ProcessContext) -> None:
    store = context.store("came")
    count = (store.get(("of", record.key)) or 0) + times()
    store.put(("of", record.key), count)
    context.forward(value=count)


app = App(NAME)
amounts = app.stream(topic("in"), key=str, value=Json(int))
amounts.group_by_key().aggregate(Total, add, store="totals").to(topic("totals"))
rows = Store("came", Json(tuple[str, str]), Json(int), partition_key=lambda key: key[1])
amounts.process(came, stores=[rows], value=Json(int)).to(topic("came"))
