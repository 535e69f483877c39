"""GET /stores/{store}: ranges, prefixes and pages over all tasks of a worker."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from streamer.http import pages
from streamer.http.server import Server
from streamer.ids import TaskId
from streamer.store.keys import row
from streamer.store.rocks import TaskDatabase
from streamer.topology.app import App
from streamer.topology.partitioner import partition_of
from tests.hurry import examples
from tests.unit.http.conftest import Start, Worker


def worker_of(start: Start, *, key: Any = str, counts: int = 3) -> Worker:
    app = App("spend")
    app.table("customers", key=key, value=int, store="totals")
    worker = start(app.topology(), counts=counts)
    worker.open(*range(counts), stream_time_ms=9)
    return worker


def fill(worker: Worker, keys: list[bytes]) -> None:
    worker.put("totals", {key: (1, n.to_bytes(8, "big")) for n, key in enumerate(keys)})


def path(**query: Any) -> str:
    return "/stores/totals?" + urlencode(query)


def all_pages(worker: Worker, **query: Any) -> list[Any]:
    """The rows of all pages, by following the cursors."""
    rows: list[Any] = []
    for _ in range(1000):
        page = worker.get(path(**query)).json
        rows += page["rows"]
        if page["next"] is None:
            return rows
        query["after"] = page["next"]
    raise AssertionError("the pages do not end")


NAMES = [f"{letter}{number:03}" for letter in "abc" for number in range(100)]


def test_a_range_is_in_the_order_of_keys_over_all_tasks(start: Start) -> None:
    worker = worker_of(start)
    fill(worker, [name.encode() for name in NAMES])
    page = worker.get(path(start="a098", end="b003"))
    assert page.keys == ["a098", "a099", "b000", "b001", "b002"]
    assert page.values == [98, 99, 100, 101, 102]
    assert page.json["next"] is None
    assert page.json["missing"] == []
    assert set(page.json["tasks"]) == {"0_0", "0_1", "0_2"}
    assert {one["task"] for one in page.json["rows"]} == {"0_0", "0_1", "0_2"}


@pytest.mark.slow
def test_the_default_limit_is_100_and_a_page_leads_to_the_next(start: Start) -> None:
    worker = worker_of(start)
    fill(worker, [name.encode() for name in NAMES])
    assert worker.get("/stores/totals").keys == NAMES[:100]
    for limit in (1, 7, 100, 300, 10_000):
        rows = all_pages(worker, limit=limit)
        assert [one["key"] for one in rows] == NAMES, limit


def test_a_prefix(start: Start) -> None:
    worker = worker_of(start)
    fill(worker, [name.encode() for name in NAMES])
    assert worker.get(path(prefix="b01")).keys == [f"b01{n}" for n in range(10)]
    assert worker.get(path(prefix="d")).keys == []
    assert worker.get(path(prefix="", limit=300)).keys == NAMES


def test_a_prefix_of_bytes_that_has_no_end(start: Start) -> None:
    worker = worker_of(start, key=bytes)
    keys = [b"\xfe\xff", b"\xff", b"\xff\xff\x01", b"\xff\xff\xff"]
    fill(worker, keys)
    shown = worker.get("/stores/totals?prefix=%FF&key_encoding=").keys
    assert len(shown) == 3
    reply = worker.get(path(prefix="ffff", key_encoding="hex"))
    assert reply.keys == ["ffff01", "ffffff"]


def test_numbers_are_in_their_order_and_below_zero_is_refused(start: Start) -> None:
    worker = worker_of(start, key=int)
    fill(worker, [n.to_bytes(8, "big") for n in range(1000)])
    assert worker.get(path(start=9, end=102, limit=1000)).keys == list(range(9, 102))
    reply = worker.get(path(start=-5, end=5))
    assert reply.status == 400
    assert "numbers below zero lie after all others" in reply.json["hint"]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"limit": "10001"}, "limit='10001' is not a number from 1 to 10000"),
        ({"limit": "9" * 5000}, "is not a number from 1 to 10000"),
        ({"limit": "0"}, "limit='0' is not a number"),
        ({"limit": "-1"}, "limit='-1' is not a number"),
        ({"limit": "many"}, "limit='many' is not a number"),
        ({"after": "xyz"}, "after='xyz' is not a cursor"),
        ({"after": "0xabc"}, "after='0xabc' is not a cursor"),
        ({"from": "1"}, "from= is not for store 'totals', a key-value store"),
        ({"prefix": "a", "start": "b"}, "prefix= excludes start= and end="),
        ({"start": "b", "end": "a"}, "start= lies after end="),
        ({"prefx": "a"}, "unknown parameter 'prefx'"),
    ],
)
def test_a_wrong_range_is_400(start: Start, query: dict[str, str], error: str) -> None:
    reply = worker_of(start, counts=1).get(path(**query))
    assert reply.status == 400
    assert error in reply.json["error"]
    assert reply.json["hint"]


def test_a_prefix_of_numbers_is_refused_unless_it_is_bytes(start: Start) -> None:
    worker = worker_of(start, key=int, counts=1)
    fill(worker, [n.to_bytes(8, "big") for n in (1, 255, 256, 257, 512)])
    assert "they have no text prefix" in worker.get(path(prefix="2")).json["error"]
    reply = worker.get(path(prefix="00000000000001", key_encoding="hex"))
    assert reply.keys == ["0000000000000100", "0000000000000101"]


def test_tasks_that_are_not_here_are_named(start: Start) -> None:
    worker = worker_of(start)
    fill(worker, [name.encode() for name in NAMES])
    served = worker.served.pop(TaskId(0, 1))
    worker.owners[TaskId(0, 1)] = "elsewhere:8080"
    restoring = worker.served[TaskId(0, 2)]
    worker.serve(TaskId(0, 2), restoring.database, state="restoring", lag=12)
    page = worker.get(path(limit=300))
    assert page.json["missing"] == [
        {"task": "0_1", "owner": "elsewhere:8080", "state": None, "lag_records": None},
        {"task": "0_2", "owner": None, "state": "restoring", "lag_records": 12},
    ]
    assert page.keys == [name for name in NAMES if partition_of(name.encode(), 3) == 0]
    assert isinstance(served.database, TaskDatabase)
    served.database.close()


def test_a_page_ends_early_when_it_is_large(start: Start, monkeypatch: Any) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES_MAX", 1000)
    worker = worker_of(start)
    fill(worker, [name.encode() for name in NAMES])
    page = worker.get(path(limit=10_000)).json
    assert 10 < len(page["rows"]) < 40
    assert [one["key"] for one in all_pages(worker, limit=10_000)] == NAMES


def test_a_page_ends_early_when_it_looks_at_much(start: Start, monkeypatch: Any) -> None:
    monkeypatch.setattr(pages, "EXAMINED_MAX", 50)
    worker = worker_of(start)
    fill(worker, [name.encode() for name in NAMES])
    assert len(worker.get(path(limit=10_000)).json["rows"]) == 50
    assert [one["key"] for one in all_pages(worker, limit=10_000)] == NAMES


def test_a_page_ends_early_when_it_takes_long(start: Start, monkeypatch: Any) -> None:
    monkeypatch.setattr(pages, "PAGE_SECONDS_MAX", -1.0)
    worker = worker_of(start, counts=1)
    names = [f"{n:04}" for n in range(1000)]
    fill(worker, [name.encode() for name in names])
    assert len(worker.get(path(limit=10_000)).json["rows"]) == pages.ROWS_PER_BREATH
    assert [one["key"] for one in all_pages(worker, limit=10_000)] == names


def test_a_key_that_lies_in_two_tasks_is_seen_twice_and_never_lost(start: Start) -> None:
    worker = worker_of(start)
    for served in worker.tasks():
        assert isinstance(served.database, TaskDatabase)
        changes = [(key, row(1, bytes(8))) for key in (b"a", b"b", b"c")]
        served.database.write({"totals": changes}, {})
    for limit in (1, 2, 4, 100):
        rows = all_pages(worker, limit=limit)
        assert [one["key"] for one in rows] == ["a"] * 3 + ["b"] * 3 + ["c"] * 3


class Interrupted:
    """A database that another thread closes after some rows of a scan were read."""

    def __init__(self, database: TaskDatabase, after_rows: int) -> None:
        self._database = database
        self._after_rows = after_rows
        self.get, self.get_many = database.get, database.get_many
        self.approximate_rows = database.approximate_rows

    def scan(
        self,
        store: str,
        start: bytes,
        end: bytes | None,
        *,
        reverse: bool = False,
        index: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = self._database.scan(store, start, end, reverse=reverse, index=index)
        for number, found in enumerate(rows):
            if number == self._after_rows:
                closing = threading.Thread(target=self._database.close)
                closing.start()
                closing.join(120)
            yield found


def test_a_database_closed_in_the_middle_of_a_scan_is_503(start: Start) -> None:
    worker = worker_of(start, counts=1)
    fill(worker, [name.encode() for name in NAMES])
    ((task, served),) = worker.served.items()
    assert isinstance(served.database, TaskDatabase)
    worker.serve(task, Interrupted(served.database, 40))
    reply = worker.get(path(limit=300))
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert "was closed" in reply.json["error"]
    assert worker.get("/healthz").status == 200


KEYS = some.lists(
    some.binary(max_size=4) | some.binary(max_size=3).map(lambda tail: b"\xff\xff" + tail),
    unique=True,
    max_size=60,
)


@pytest.fixture(scope="module")
def bytes_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker for all examples of the property, which empty it."""
    app = App("spend")
    app.table("customers", key=bytes, value=int, store="totals")
    worker = Worker(app.topology(), tmp_path_factory.mktemp("ranges"), 3)
    worker.server = Server(worker, "127.0.0.1", 0)
    worker.server.start()
    worker.open(0, 1, 2)
    yield worker
    worker.server.close()
    for served in worker.tasks():
        assert isinstance(served.database, TaskDatabase)
        served.database.close()


@given(
    keys=KEYS,
    low=some.binary(max_size=3),
    high=some.none() | some.binary(max_size=3),
    prefix=some.none() | some.binary(max_size=3),
    limit=some.integers(1, 20),
)
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_range_is_that_of_a_sorted_dict(
    bytes_worker: Worker,
    keys: list[bytes],
    low: bytes,
    high: bytes | None,
    prefix: bytes | None,
    limit: int,
) -> None:
    worker = bytes_worker
    for served in worker.tasks():
        assert isinstance(served.database, TaskDatabase)
        before = [key for key, _row in served.database.scan("totals", b"", None)]
        served.database.write({"totals": [(key, None) for key in before]}, {})
    model = {key: n for n, key in enumerate(keys)}
    fill(worker, keys)
    if prefix is not None:
        query = {"prefix": prefix.hex()}
        expected = [(key.hex(), model[key]) for key in sorted(model) if key.startswith(prefix)]
    else:
        query = {"start": low.hex()} | ({} if high is None else {"end": high.hex()})
        expected = [
            (key.hex(), model[key])
            for key in sorted(model)
            if low <= key and (high is None or key < high)
        ]
    if prefix is None and high is not None and low > high:
        assert worker.get(path(**query, key_encoding="hex")).status == 400
        return
    rows = all_pages(worker, **query, key_encoding="hex", limit=limit)
    assert [(one["key"], one["value"]) for one in rows] == expected
    cursors = all_pages(worker, **query, key_encoding="hex", limit=limit, cursors=1)
    assert [one["cursor"] for one in cursors] == ["0x" + key for key, _value in expected]


def test_the_answer_is_utf8(start: Start) -> None:
    worker = worker_of(start, counts=1)
    fill(worker, ["Zoë".encode()])
    assert "Zoë".encode() in worker.get(path(prefix="Zo")).body
    assert json.loads(worker.get(path(start="Zoë")).body)["rows"][0]["key"] == "Zoë"
