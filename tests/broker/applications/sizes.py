"""Texts as long as each record says: as results, and kept by key where they are to be kept."""

from __future__ import annotations

from random import Random

from streamer import App
from streamer.serdes import Json, Utf8
from tests.broker.applications import NAME, topic


def text(length: int) -> str:
    """A negative length: as long, of letters that cannot be compressed to half of it."""
    if length >= 0:
        return "x" * length
    return "".join(Random(length).choices("abcdefghijklmnopqrstuvwxyz", k=-length))


app = App(NAME)
lengths = app.stream(topic("in"), key=str, value=Json(int))
lengths.map_values(text, value=Utf8).to(topic("out"))
lengths.group_by_key().count(store="counts").to(topic("counts"))
kept = app.stream(topic("kept"), key=str, value=Json(int))
kept.group_by_key().aggregate(str, lambda _key, one, _old: text(one), store="kept", value=Utf8)
