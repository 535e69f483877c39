"""What `applications/counts.py` must have written for the input that is in its topic.

A plain fold, record by record in the order of each partition, that shares nothing with the engine.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from dataclasses import dataclass, field

from tests.broker.applications.counts import WINDOW_MS
from tests.broker.conftest import HELD_UP_S
from tests.broker.workers import Application

Window = tuple[str, int]


@dataclass
class Counts:
    """`closed` holds the windows whose end the stream time of their partition has passed."""

    totals: dict[str, tuple[int, int]] = field(default_factory=dict)
    every: dict[Window, list[int]] = field(default_factory=lambda: defaultdict(list))
    closed: dict[Window, list[int]] = field(default_factory=lambda: defaultdict(list))


def expected(application: Application) -> Counts:
    counts = Counts()
    stream_time: dict[int, int] = {}
    home: dict[Window, int] = {}
    for record in application.kafka.read(application.topic("in")):
        assert record.key is not None
        assert record.value is not None
        key, amount = record.key.decode(), json.loads(record.value)
        count, total = counts.totals.get(key, (0, 0))
        counts.totals[key] = (count + 1, total + amount)
        now_ms = max(stream_time.get(record.partition, -1), record.timestamp_ms)
        stream_time[record.partition] = now_ms
        start_ms = record.timestamp_ms - record.timestamp_ms % WINDOW_MS
        if start_ms + WINDOW_MS > now_ms:
            series = counts.every[key, start_ms]
            series.append(len(series) + 1)
            home[key, start_ms] = record.partition
    for window, partition in home.items():
        if window[1] + WINDOW_MS <= stream_time[partition]:
            counts.closed[window].append(len(counts.every[window]))
    return counts


def written(application: Application, *, held_up_s: float = HELD_UP_S) -> Counts:
    """The same from the output topics. Totals of a key must grow from record to record."""
    counts = Counts()
    for record in application.kafka.read(application.topic("totals")):
        assert record.key is not None
        key, row = record.key.decode(), json.loads(record.value or b"null")
        before = counts.totals.get(key, (0, 0))
        assert row["count"] > before[0], f"{key}: {row} after {before}"
        counts.totals[key] = (row["count"], row["sum"])
    for name, found in (("every", counts.every), ("closed", counts.closed)):
        for record in application.kafka.read(application.topic(name), held_up_s=held_up_s):
            window = window_of(record.key or b"")
            found[window].append(json.loads(record.value or b"null"))
            if name == "every":
                assert window[1] <= record.timestamp_ms < window[1] + WINDOW_MS
    return counts


def window_of(key: bytes) -> Window:
    """The record key and the window's start from the key of a windowed result."""
    (start_ms,) = struct.unpack(">q", key[-8:])
    return key[:-8].decode(), start_ms


def _differing(found: dict[Window, list[int]], wanted: dict[Window, list[int]]) -> str:
    """Which windows have other results than they should have, and the first of them."""
    windows = sorted(each for each in found.keys() | wanted.keys() if found[each] != wanted[each])
    if not windows:
        return ""
    first = windows[0]
    return (
        f"{len(windows)} of {len(wanted)} windows, {sum(map(len, found.values()))} results instead"
        f" of {sum(map(len, wanted.values()))}; {first}: {found[first]} instead of {wanted[first]}"
    )


def check(application: Application, *, held_up_s: float = HELD_UP_S) -> Counts:
    """Nothing is lost, doubled or out of order; returns what was written."""
    wanted, found = expected(application), written(application, held_up_s=held_up_s)
    assert found.totals == wanted.totals
    assert not (told := _differing(found.every, wanted.every)), f"every: {told}"
    assert not (told := _differing(found.closed, wanted.closed)), f"closed: {told}"
    return found
