"""A function of the user's that takes as long as each record says, and counts per key."""

from __future__ import annotations

import logging
import time

from streamer import App
from streamer.serdes import Json
from tests.broker.applications import NAME, topic


def wait(pause_ms: int) -> int:
    if pause_ms:
        logging.getLogger(__name__).info("this record takes %d ms", pause_ms)
    time.sleep(pause_ms / 1000)
    return pause_ms


app = App(NAME)
waited = app.stream(topic("in"), key=str, value=Json(int)).map_values(wait, value=Json(int))
waited.to(topic("out"))
waited.group_by_key().count(store="counts").to(topic("counts"))
