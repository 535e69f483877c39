"""A stream that looks up rows of a table: one task of two inputs, read by their timestamps."""

from __future__ import annotations

from streamer import App
from tests.broker.applications import NAME, topic


def start_of(_value: bytes, row: bytes) -> bytes:
    return row[:5]


app = App(NAME)
rows = app.table(topic("rows"), key=str, value=bytes, store="rows")
looked_up = app.stream(topic("in"), key=str, value=bytes).join(rows, start_of, value=bytes)
looked_up.to(topic("out"))
