"""Stores that are given to steps: of the right kind, with times that can be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from streamer import App, SessionWindows, Store, TopologyError, TumblingWindows, WindowStore
from streamer.topology.stores import StoreKind

HOUR = timedelta(hours=1)


def stream() -> Any:
    return App("a").stream("in", key=str, value=int)


def grouped() -> Any:
    return stream().group_by_key()


REFUSED: dict[str, Any] = {
    "windows in a store of a table": (
        lambda: App("a").table("t", key=str, store=WindowStore("w", size=HOUR)),
        "store 'w' cannot be a WindowStore: this step has no windows",
    ),
    "windows in a store of an aggregation without them": (
        lambda: grouped().count(store=WindowStore("w", size=HOUR)),
        "store 'w' cannot be a WindowStore: this step has no windows",
    ),
    "windows of one size for sessions": (
        lambda: (
            grouped().windowed_by(SessionWindows(HOUR)).count(store=WindowStore("w", size=HOUR))
        ),
        "store 'w' cannot be a WindowStore: this step has no windows of one size",
    ),
    "windows of another size": (
        lambda: (
            grouped()
            .windowed_by(TumblingWindows(HOUR))
            .count(store=WindowStore("w", size=2 * HOUR))
        ),
        "but its windows are of 3600000 ms",
    ),
    "two retentions": (
        lambda: (
            grouped()
            .windowed_by(TumblingWindows(HOUR))
            .count(store=WindowStore("w", retention=2 * HOUR), retention=HOUR)
        ),
        "has retention=.*7200.*, and its aggregation .*3600",
    ),
    "a table's store as windows": (
        lambda: [
            (one.group_by_key().count(store="s"), one.process(print, stores=[windows]))
            for one in [stream()]
            for windows in [WindowStore("s", size=HOUR)]
        ],
        "'s' has a value per key, so it is no WindowStore",
    ),
    "an aggregation's windows under another size": (
        lambda: [
            (
                one.group_by_key().windowed_by(TumblingWindows(HOUR)).count(store="s"),
                one.process(print, stores=[WindowStore("s", size=2 * HOUR)]),
            )
            for one in [stream()]
        ],
        "'s' has size=.*, but its windows are of 3600000 ms",
    ),
    "a ttl of nothing": (
        lambda: App("a").table("t", key=str, store=Store("s", ttl=timedelta(0))),
        "ttl of s must be at least one millisecond",
    ),
    "a ttl below a millisecond": (
        lambda: grouped().count(store=Store("s", ttl=timedelta(microseconds=999))),
        "ttl of s must be at least one millisecond",
    ),
    "a retention below a millisecond": (
        lambda: (
            grouped()
            .windowed_by(TumblingWindows(HOUR))
            .count(store="s", retention=timedelta(microseconds=1))
        ),
        "retention must be at least one millisecond",
    ),
    "a window store whose windows are empty": (
        lambda: stream().process(print, stores=[WindowStore("s", str, int, size=timedelta(0))]),
        "size of s must be at least one millisecond",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_where_it_is_written(name: str) -> None:
    build, text = REFUSED[name]
    with pytest.raises(TopologyError, match=text):
        build()


def test_a_window_store_tells_how_long_an_aggregation_keeps_its_windows() -> None:
    hourly = grouped().windowed_by(TumblingWindows(HOUR))
    store = WindowStore("w", value=int, size=HOUR, retention=24 * HOUR, rocksdb={"a": 1})
    spec = hourly.count(store=store).spec
    assert (spec.kind, spec.window_size_ms) == (StoreKind.WINDOW, 3_600_000)
    assert (spec.retention_ms, spec.rocksdb) == (86_400_000, {"a": 1})
    assert hourly.count(store=WindowStore("without")).spec.retention_ms == 3_600_000
    kept = hourly.count(store=WindowStore("same", retention=HOUR), retention=HOUR)
    assert kept.spec.retention_ms == 3_600_000
