"""Windows and sessions: of one key, and of all keys in a range of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from streamer.http import lookups
from streamer.store.rocks import TaskDatabase
from streamer.topology.app import App
from streamer.topology.stores import WindowStore
from streamer.topology.windows import HoppingWindows, SessionWindows, TumblingWindows, Windows
from tests.unit.http.conftest import Start, Worker, session, window

SECOND = 1_000
HOUR = 3_600_000


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def windowed(
    start: Start,
    windows: Windows,
    *,
    retention_s: float = 1_000,
    stream_time_ms: int = 0,
    counts: int = 1,
) -> Worker:
    app = App("spend")
    grouped = app.stream("purchases", key=str, value=int).group_by_key().windowed_by(windows)
    grouped.count(store="counts", retention=seconds(retention_s))
    worker = start(app.topology(), counts=counts)
    worker.open(*range(counts), stream_time_ms=stream_time_ms)
    return worker


def put_windows(worker: Worker, key: str, starts: Sequence[int]) -> None:
    worker.put("counts", {window(one, key): (one + 1, b"%d" % one) for one in starts})


def starts_of(worker: Worker, query: str = "", key: str = "ann") -> list[int]:
    reply = worker.get(f"/stores/counts/{quote(key)}{query}")
    assert reply.status == 200, reply.body
    return [one["start_ms"] for one in reply.json["rows"]]


def test_the_windows_of_a_key(start: Start) -> None:
    worker = windowed(start, TumblingWindows(seconds(10)), stream_time_ms=55 * SECOND)
    put_windows(worker, "ann", [10_000, 20_000, 50_000])
    put_windows(worker, "bob", [20_000, 30_000])
    reply = worker.get("/stores/counts/ann?from=20000&to=50000").json
    assert reply == {
        "store": "counts",
        "key": "ann",
        "task": "0_0",
        "stream_time_ms": 55_000,
        "lag_records": 0,
        "rows": [
            {
                "key": "ann",
                "start_ms": 20_000,
                "end_ms": 30_000,
                "value": 20_000,
                "timestamp_ms": 20_001,
                "task": "0_0",
            }
        ],
        "next": None,
    }
    assert starts_of(worker) == [10_000, 20_000, 50_000]
    assert starts_of(worker, "?from=10001") == [20_000, 50_000]
    assert starts_of(worker, "?to=20000") == [10_000]
    assert starts_of(worker, "?from=20000&to=20000") == []
    assert starts_of(worker, key="nobody") == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?from=1970-01-01T00:00:20Z&to=1970-01-01T00:00:50Z", [20_000]),
        ("?from=1970-01-01T00:00:20", [20_000, 50_000]),
        ("?from=1970-01-01T01:00:20%2B01:00", [20_000, 50_000]),
        ("?from=1970-01-01T01:00:20+01:00", [20_000, 50_000]),
        ("?to=1970-01-01T00:00:20.001Z", [10_000, 20_000]),
        ("?from=1970-01-01%2000:00:50", [50_000]),
        ("?to=1970-01-02", [10_000, 20_000, 50_000]),
        ("?to=9223372036854775807", [10_000, 20_000, 50_000]),
    ],
)
def test_times_are_iso_or_milliseconds(start: Start, query: str, expected: list[int]) -> None:
    worker = windowed(start, TumblingWindows(seconds(10)), stream_time_ms=55 * SECOND)
    put_windows(worker, "ann", [10_000, 20_000, 50_000])
    assert starts_of(worker, query) == expected


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("from=yesterday", "from='yesterday' is not a time"),
        ("to=-1", "to='-1' is not a time"),
        ("from=1969-01-01", "from='1969-01-01' is not a time"),
        ("from=9223372036854775808", "is not a time"),
        ("from=20&to=10", "from=20 is later than to=10"),
        ("start=a", "unknown parameter 'start'"),
    ],
)
def test_a_wrong_time_is_400(start: Start, query: str, error: str) -> None:
    worker = windowed(start, TumblingWindows(seconds(10)))
    reply = worker.get(f"/stores/counts/ann?{query}")
    assert reply.status == 400
    assert error in reply.json["error"]


@pytest.mark.slow
def test_points_and_scans_find_the_same_windows(start: Start, monkeypatch: Any) -> None:
    worker = windowed(
        start,
        HoppingWindows(seconds(10), seconds(4)),
        stream_time_ms=400 * SECOND,
        retention_s=10_000,
    )
    expected = list(range(4_000, 400_000, 12_000))
    put_windows(worker, "ann", expected)
    for other in ("a", "anna", "bob"):
        put_windows(worker, other, list(range(0, 400_000, 4_000)))
    found: list[str] = []
    for name in ("_windows_at", "_windows_between"):
        original = getattr(lookups, name)

        def spy(*given: Any, _name: str = name, _original: Any = original, **more: Any) -> Any:
            found.append(_name)
            return _original(*given, **more)

        monkeypatch.setattr(lookups, name, spy)
    assert starts_of(worker, "?limit=1000") == expected
    assert starts_of(worker, "?limit=1000&to=9223372036854775807") == expected
    assert found == ["_windows_at", "_windows_between"]
    for limit in (1, 3, 10):
        assert paged(worker, f"limit={limit}") == expected
        assert paged(worker, f"limit={limit}&to=9223372036854775807") == expected


def paged(worker: Worker, query: str, *, key: str = "ann") -> list[int]:
    starts: list[int] = []
    after = ""
    for _ in range(500):
        page = worker.get(f"/stores/counts/{key}?{query}{after}").json
        starts += [one["start_ms"] for one in page["rows"]]
        if page["next"] is None:
            return starts
        after = "&after=" + page["next"]
    raise AssertionError("the pages do not end")


def test_pages_of_a_scan_do_not_lose_a_window_behind_other_keys(
    start: Start, monkeypatch: Any
) -> None:
    from streamer.http import pages

    monkeypatch.setattr(pages, "EXAMINED_MAX", 7)
    worker = windowed(start, TumblingWindows(seconds(10)), stream_time_ms=60 * SECOND)
    for number in range(30):
        put_windows(worker, f"k{number:02}", [10_000, 20_000, 30_000])
    far = "to=9223372036854775807"
    for key in ("k00", "k06", "k07", "k29"):
        assert paged(worker, far, key=key) == [10_000, 20_000, 30_000], key


def test_windows_past_their_retention_are_absent(start: Start) -> None:
    # A window of 10 s and a retention of 20 s: gone when its start + 30 s is not above the time.
    worker = windowed(
        start, TumblingWindows(seconds(10)), retention_s=20, stream_time_ms=60 * SECOND
    )
    put_windows(worker, "ann", [20_000, 30_000, 40_000])
    assert starts_of(worker) == [40_000]
    assert starts_of(worker, "?from=0&to=9223372036854775807") == [40_000]
    assert worker.get("/stores/counts").values == [40_000]


def test_windows_of_process_may_begin_anywhere(start: Start) -> None:
    app = App("spend")

    @app.process(
        "purchases", key=str, value=int, stores=[WindowStore("seen", str, int, size=seconds(10))]
    )
    def remember(record: Any, context: Any) -> None:
        return None

    worker = start(app.topology())
    worker.open(0, stream_time_ms=15_000)
    values = {window(at, "ann"): (at, at.to_bytes(8, "big")) for at in (3, 7_777, 20_001)}
    worker.put("seen", values)
    reply = worker.get("/stores/seen/ann")
    assert [one["start_ms"] for one in reply.json["rows"]] == [3, 7_777, 20_001]
    assert [one["end_ms"] for one in reply.json["rows"]] == [10_003, 17_777, 30_001]


def test_windows_of_all_keys_in_a_range_of_time(start: Start) -> None:
    worker = windowed(start, TumblingWindows(seconds(10)), stream_time_ms=60 * SECOND, counts=3)
    names = [f"k{number}" for number in range(20)]
    for name in names:
        put_windows(worker, name, [10_000, 20_000, 30_000])
    reply = worker.get("/stores/counts?from=20000&to=30001&limit=1000")
    found = [(one["start_ms"], one["key"]) for one in reply.json["rows"]]
    assert found == [(at, name) for at in (20_000, 30_000) for name in sorted(names)]
    rows: list[Any] = []
    after = ""
    while True:
        page = worker.get(f"/stores/counts?from=20000&limit=7{after}").json
        rows += page["rows"]
        if page["next"] is None:
            break
        after = "&after=" + page["next"]
    assert [(one["start_ms"], one["key"]) for one in rows] == found
    reply = worker.get("/stores/counts?prefix=k1")
    assert reply.status == 400
    assert "prefix= is not for store 'counts', a window store" in reply.json["error"]
    reply = worker.post("/stores/counts", {"keys": ["k1"]})
    assert (reply.status, "it is read key by key" in reply.json["error"]) == (400, True)


SESSIONS = [(10, 19), (30, 30), (50, 80), (100, 140)]


def sessions_worker(start: Start, *, stream_time_ms: int = 140, retention_s: float = 5) -> Worker:
    worker = windowed(
        start,
        SessionWindows(seconds(0.005)),
        retention_s=retention_s,
        stream_time_ms=stream_time_ms,
        counts=2,
    )
    rows = {session("ann", low, high): (high, b"%d" % low) for low, high in SESSIONS}
    # A key that begins with another: its rows may lie among the other's.
    rows |= {session("ann\0\0\0\0\0\0\0\x20", 40, 60): (60, b"1")}
    rows |= {session(name, 5, 55): (55, b"7") for name in ("bob", "an", "anna")}
    worker.put("counts", rows)
    return worker


@pytest.mark.slow
def test_sessions_of_a_key_that_overlap_with_a_range(start: Start) -> None:
    worker = sessions_worker(start)
    for low in (0, 10, 19, 20, 30, 31, 80, 81, 140, 141):
        for high in (None, 10, 11, 30, 31, 50, 51, 200):
            if high is not None and high < low:
                continue
            query = f"from={low}" + ("" if high is None else f"&to={high}")
            expected = [
                first for first, last in SESSIONS if last >= low and (high is None or first < high)
            ]
            assert starts_of(worker, f"?{query}") == expected, query
            assert paged(worker, f"{query}&limit=1") == expected, query


def test_sessions_show_their_bounds(start: Start) -> None:
    worker = sessions_worker(start)
    (row,) = worker.get("/stores/counts/ann?from=30&to=31").json["rows"]
    assert (row["key"], row["start_ms"], row["end_ms"], row["value"]) == ("ann", 30, 30, 30)


def test_sessions_past_their_retention_are_absent(start: Start) -> None:
    # Retention of 5 s from the session's end on, its last moment included.
    worker = sessions_worker(start, stream_time_ms=5_031)
    assert starts_of(worker) == [50, 100]
    worker = sessions_worker(start, stream_time_ms=5_030)
    assert starts_of(worker) == [30, 50, 100]


def test_sessions_of_all_keys_by_their_end(start: Start) -> None:
    worker = sessions_worker(start)

    def found(query: str) -> list[tuple[str, int, int]]:
        rows = worker.get(f"/stores/counts?{query}").json["rows"]
        return [(one["key"], one["start_ms"], one["end_ms"]) for one in rows]

    assert found("from=50&to=56") == [
        ("an", 5, 55),
        ("anna", 5, 55),
        ("bob", 5, 55),
        ("ann\0\0\0\0\0\0\0\x20", 40, 60),
        ("ann", 50, 80),
    ]
    assert found("from=81") == [("ann", 100, 140)]
    first = worker.get("/stores/counts?from=50&to=56&limit=2").json
    rest = found("from=50&to=56&after=" + first["next"])
    assert [one["key"] for one in first["rows"]] == ["an", "anna"]
    assert rest == found("from=50&to=56")[2:]


def test_a_session_that_was_merged_away_is_gone_from_ranges(start: Start) -> None:
    worker = sessions_worker(start)
    for served in worker.tasks():
        assert isinstance(served.database, TaskDatabase)
        gone: list[tuple[bytes, bytes | None]] = [(session("bob", 5, 55), None)]
        served.database.write({"counts": gone}, {})
    keys = [one["key"] for one in worker.get("/stores/counts?from=55&to=56").json["rows"]]
    assert "bob" not in keys
    assert "an" in keys


def test_windows_are_shown_by_the_time_of_their_store(start: Start) -> None:
    worker = windowed(
        start, TumblingWindows(seconds(10)), retention_s=20, stream_time_ms=60 * SECOND
    )
    put_windows(worker, "ann", [10_000, 30_000, 40_000])
    assert starts_of(worker) == [40_000]
    (task,) = worker.served
    worker.served[task] = replace(worker.served[task], times={"counts": 40_000})
    assert starts_of(worker) == [30_000, 40_000]
