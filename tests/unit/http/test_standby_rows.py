"""Rows of copies: several keys, windows, ranges, and what a copy does not know of time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from streamer.http import lookups
from streamer.ids import TaskId
from streamer.store.rocks import TaskDatabase
from streamer.topology.app import App
from streamer.topology.graph import Topology
from streamer.topology.partitioner import partition_of
from streamer.topology.stores import Store
from streamer.topology.windows import HoppingWindows, SessionWindows, TumblingWindows
from tests.unit.http.conftest import Reply, Start, Worker, session, window
from tests.unit.http.test_ranges import Interrupted

NAMES = [f"k{number:03}" for number in range(60)]
HOME = {name: partition_of(name.encode(), 2) for name in NAMES}
TASKS = (TaskId(0, 0), TaskId(0, 1))


def table() -> Topology:
    app = App("spend")
    app.table("customers", key=str, value=str, store="totals")
    return app.topology()


def hold(worker: Worker, partition: int, name: str, **more: Any) -> None:
    """Open a task or a copy whose values all are `name`."""
    worker.open(partition)
    own = [key for key in NAMES if HOME[key] == partition]
    worker.put("totals", {key.encode(): (1, name.encode()) for key in own})
    worker.serve(TASKS[partition], worker.served[TASKS[partition]].database, **more)


@pytest.fixture
def group(start: Start) -> tuple[Worker, Worker, Worker]:
    """`first` runs task 0_0 and keeps a copy of 0_1 that lacks 5, `second` runs 0_1, and `third`
    keeps a copy of 0_1 that lacks 9. They know each other."""
    topology = table()
    first, second, third = (start(topology, counts=2) for _ in range(3))
    hold(first, 0, "first")
    hold(first, 1, "copy", state="standby", lag=5)
    hold(second, 1, "second")
    hold(third, 1, "third", state="standby", lag=9)
    for worker in (first, second, third):
        worker.owners = {TASKS[0]: first.address, TASKS[1]: second.address}
        copies = [(first.address, 5), (third.address, 9)]
        worker.copies[TASKS[1]] = [one for one in copies if one[0] != worker.address]
    del first.owners[TASKS[0]], second.owners[TASKS[1]]
    return first, second, third


def by_home(reply: Reply) -> tuple[set[str], set[str]]:
    """The values of the keys of each task."""
    assert reply.status == 200, reply.body
    found: tuple[set[str], set[str]] = (set(), set())
    for name, row in zip(NAMES, reply.json["rows"], strict=True):
        found[HOME[name]].add(row["value"])
    return found


def several(worker: Worker, query: str = "") -> Reply:
    return worker.post(f"/stores/totals{query}", {"keys": NAMES})


# -- several keys --------------------------------------------------------------------------------


def test_several_keys_come_from_owners_and_nothing_is_said_of_copies(
    group: tuple[Worker, Worker, Worker],
) -> None:
    for worker in group:
        reply = several(worker)
        assert by_home(reply) == ({"first"}, {"second"})
        assert set(reply.json) == {"store", "rows"}
        assert "Streamer-Role" not in reply.headers
        assert all("role" not in row for row in reply.json["rows"])


def test_several_keys_with_max_lag_take_the_copies_that_are_here(
    group: tuple[Worker, Worker, Worker],
) -> None:
    first, second, third = group
    reply = several(first, "?max_lag=5")
    assert by_home(reply) == ({"first"}, {"copy"})
    assert reply.json["standbys"] == {"0_1": 5}
    assert (reply.headers["Streamer-Role"], reply.headers["Streamer-Lag"]) == ("standby", "5")
    roles = {(row["task"], row.get("role"), row["lag_records"]) for row in reply.json["rows"]}
    assert roles == {("0_0", None, 0), ("0_1", "standby", 5)}
    for worker, query in ((first, "?max_lag=4"), (third, "?max_lag=4"), (first, "?max_lag=0")):
        assert by_home(several(worker, query)) == ({"first"}, {"second"})
    assert by_home(several(second, "?max_lag=99")) == ({"first"}, {"second"})


def test_several_keys_come_from_copies_where_an_owner_is_gone(
    group: tuple[Worker, Worker, Worker],
) -> None:
    _first, second, third = group
    assert second.server is not None
    second.server.close()
    reply = several(third)
    assert by_home(reply) == ({"first"}, {"third"})
    assert reply.json["standbys"] == {"0_1": 9}
    del third.served[TASKS[1]]
    reply = several(third)
    assert by_home(reply) == ({"first"}, {"copy"})
    assert (reply.json["standbys"], reply.headers["Streamer-Lag"]) == ({"0_1": 5}, "5")
    assert all(("role" in row) == (row["task"] == "0_1") for row in reply.json["rows"])


def test_a_task_that_its_owner_cannot_read_does_not_send_the_others_to_copies(
    start: Start,
) -> None:
    topology = table()
    asked, owner, keeper = (start(topology, counts=2) for _ in range(3))
    hold(owner, 0, "owner")
    hold(owner, 1, "owner", state="restoring", lag=3)
    hold(keeper, 0, "keeper", state="standby", lag=5)
    hold(keeper, 1, "keeper", state="standby", lag=8)
    asked.owners = dict.fromkeys(TASKS, owner.address)
    reply = several(asked)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.json["error"] == "task 0_1 is restoring, with 3 records to go"
    asked.copies = {TASKS[0]: [(keeper.address, 5)], TASKS[1]: [(keeper.address, 8)]}
    reply = several(asked)
    assert by_home(reply) == ({"owner"}, {"keeper"})
    assert reply.json["standbys"] == {"0_1": 8}
    assert asked.server is not None
    asked.server._forwarder.silence.failed(owner.address)
    reply = several(asked)
    assert by_home(reply) == ({"keeper"}, {"keeper"})
    assert reply.headers["Streamer-Lag"] == "8"


def test_several_keys_are_refused_where_a_task_is_nowhere(
    group: tuple[Worker, Worker, Worker],
) -> None:
    first, second, _third = group
    first.acceptable_lag = 4
    second.served[TASKS[1]] = replace(second.served[TASKS[1]], state="restoring")
    reply = several(first)
    assert (reply.status, reply.json["task"], reply.json["state"]) == (503, "0_1", "restoring")


# -- what a copy does not know of time -----------------------------------------------------------


def one(start: Start, app: App, **more: Any) -> Worker:
    worker = start(app.topology())
    worker.open(0)
    worker.serve(TaskId(0, 0), worker.served[TaskId(0, 0)].database, state="standby", **more)
    return worker


def windowed(start: Start, windows: Any, **more: Any) -> Worker:
    app = App("spend")
    grouped = app.stream("purchases", key=str, value=int).group_by_key().windowed_by(windows)
    grouped.count(store="counts", retention=timedelta(seconds=100))
    return one(start, app, lag=3, **more)


@pytest.mark.parametrize("stream_time_ms", [-1, 25_000])
@pytest.mark.parametrize("points_free", [0, 64])
def test_a_copy_shows_all_windows_of_a_key_though_it_does_not_know_the_time(
    start: Start, monkeypatch: Any, stream_time_ms: int, points_free: int
) -> None:
    monkeypatch.setattr(lookups, "_POINTS_FREE", points_free)
    worker = windowed(
        start,
        HoppingWindows(timedelta(seconds=10), timedelta(seconds=5)),
        stream_time_ms=stream_time_ms,
    )
    starts = [0, 5_000, 20_000, 900_000]
    worker.put("counts", {window(at, "ann"): (at, b"1") for at in starts})
    worker.put("counts", {window(1_000_000, "bob"): (1, b"1")})
    reply = worker.get("/stores/counts/ann?max_lag=3")
    assert [row["start_ms"] for row in reply.json["rows"]] == starts
    assert (reply.json["role"], reply.json["lag_records"]) == ("standby", 3)
    assert reply.json["stream_time_ms"] == (None if stream_time_ms < 0 else stream_time_ms)
    assert reply.headers["Streamer-Lag"] == "3"
    assert worker.get("/stores/counts/bob?max_lag=3").json["rows"][0]["start_ms"] == 1_000_000
    assert worker.get("/stores/counts/ann?max_lag=3&from=6000&to=30000").values == [1]
    assert len(worker.get("/stores/counts?max_lag=3").json["rows"]) == 5


def test_a_copy_without_windows_has_none(start: Start) -> None:
    worker = windowed(start, TumblingWindows(timedelta(seconds=10)), stream_time_ms=-1)
    assert worker.get("/stores/counts/ann?max_lag=3").json["rows"] == []


def test_a_copy_shows_all_sessions_though_it_does_not_know_the_time(start: Start) -> None:
    worker = windowed(start, SessionWindows(timedelta(seconds=10)), stream_time_ms=-1)
    worker.put("counts", {session("ann", at, at + 5): (at, b"1") for at in (0, 900_000)})
    for path in ("/stores/counts/ann?max_lag=3", "/stores/counts?max_lag=3"):
        assert [row["start_ms"] for row in worker.get(path).json["rows"]] == [0, 900_000]


def test_a_copy_leaves_out_what_was_past_its_retention_at_a_time_that_it_knows(
    start: Start,
) -> None:
    worker = windowed(start, TumblingWindows(timedelta(seconds=10)), stream_time_ms=500_000)
    starts = [0, 380_000, 400_000]
    worker.put("counts", {window(at, "ann"): (at, b"1") for at in starts})
    path = "/stores/counts/ann?max_lag=3"
    # The task's time may be ahead of that of the windows, so it says nothing of them.
    assert [row["start_ms"] for row in worker.get(path).json["rows"]] == starts
    known = replace(worker.served[TaskId(0, 0)], times={"counts": 500_000})
    worker.served[TaskId(0, 0)] = known
    assert [row["start_ms"] for row in worker.get(path).json["rows"]] == [400_000]


def test_a_copy_shows_rows_past_their_ttl_until_it_reads_that_they_were_removed(
    start: Start,
) -> None:
    app = App("spend")
    ttl = Store("totals", ttl=timedelta(seconds=1))
    app.table("customers", key=str, value=str, store=ttl)
    worker = one(start, app, lag=3, stream_time_ms=-1)
    worker.put("totals", {b"old": (1_000, b"x"), b"new": (9_000, b"y")})
    assert worker.get("/stores/totals/old?max_lag=3").json["stream_time_ms"] is None
    assert worker.get("/stores/totals?max_lag=3").keys == ["new", "old"]
    worker.served[TaskId(0, 0)] = replace(worker.served[TaskId(0, 0)], stream_time_ms=5_000)
    assert worker.get("/stores/totals/old?max_lag=3").status == 404
    assert worker.get("/stores/totals?max_lag=3").keys == ["new"]


# -- ranges --------------------------------------------------------------------------------------


def homes(reply: Reply) -> dict[str, set[str]]:
    assert reply.status == 200, reply.body
    found: dict[str, set[str]] = {}
    for row in reply.json["rows"]:
        found.setdefault(row["task"], set()).add(row["value"])
    return found


def test_a_range_leaves_copies_out_and_tells_which_could_answer(
    group: tuple[Worker, Worker, Worker],
) -> None:
    first, second, third = group
    reply = first.get("/stores/totals")
    assert homes(reply) == {"0_0": {"first"}}
    assert "standbys" not in reply.json
    assert "Streamer-Role" not in reply.headers
    assert reply.json["missing"] == [
        {
            "task": "0_1",
            "owner": second.address,
            "state": "standby",
            "lag_records": 5,
            "copies": [{"worker": third.address, "lag_records": 9}],
        }
    ]
    assert reply.json["max_lag"] == 10_000
    reply = first.get("/stores/totals?max_lag=0")
    assert "copies" not in reply.json["missing"][0]
    assert "max_lag" not in reply.json


def test_a_range_with_max_lag_covers_the_copies_too(group: tuple[Worker, Worker, Worker]) -> None:
    first, _second, third = group
    for path in ("/stores/totals?max_lag=5", "/stores/totals?prefix=k&max_lag=5"):
        reply = first.get(path)
        assert homes(reply) == {"0_0": {"first"}, "0_1": {"copy"}}
        assert reply.json["missing"] == []
    assert reply.json["tasks"] == {
        "0_0": {"stream_time_ms": 0, "lag_records": 0},
        "0_1": {"stream_time_ms": 0, "lag_records": 5, "role": "standby"},
    }
    assert (reply.json["standbys"], reply.headers["Streamer-Lag"]) == ({"0_1": 5}, "5")
    assert homes(first.get("/stores/totals?max_lag=4")) == {"0_0": {"first"}}
    assert homes(third.get("/stores/totals?max_lag=8")) == {}


def test_a_range_covers_a_copy_whose_owner_is_not_known_or_did_not_answer(
    group: tuple[Worker, Worker, Worker],
) -> None:
    first, second, _third = group
    assert first.server is not None
    first.server._forwarder.silence.failed(second.address)
    assert homes(first.get("/stores/totals"))["0_1"] == {"copy"}
    first.server._forwarder.silence.answered(second.address)
    assert "0_1" not in homes(first.get("/stores/totals"))
    del first.owners[TASKS[1]]
    assert homes(first.get("/stores/totals"))["0_1"] == {"copy"}
    assert "0_1" not in homes(first.get("/stores/totals?max_lag=0"))
    first.acceptable_lag = 4
    assert "0_1" not in homes(first.get("/stores/totals"))


def test_a_range_covers_a_task_that_catches_up_here(group: tuple[Worker, Worker, Worker]) -> None:
    _first, second, _third = group
    second.served[TASKS[1]] = replace(second.served[TASKS[1]], state="restoring")
    assert second.get("/stores/totals").json["missing"][1]["state"] == "restoring"
    second.served[TASKS[1]] = replace(second.served[TASKS[1]], copy_lag=2)
    reply = second.get("/stores/totals")
    assert (homes(reply), reply.json["standbys"]) == ({"0_1": {"second"}}, {"0_1": 2})


def test_a_copy_that_is_closed_within_a_range_is_left_out_and_told(
    group: tuple[Worker, Worker, Worker],
) -> None:
    first, second, _third = group
    database = first.served[TASKS[1]].database
    assert isinstance(database, TaskDatabase)
    first.serve(TASKS[1], Interrupted(database, 10), state="standby", lag=5)
    reply = first.get("/stores/totals?max_lag=5")
    assert homes(reply) == {"0_0": {"first"}}
    assert len(reply.json["rows"]) == sum(home == 0 for home in HOME.values())
    assert [(one["task"], one["owner"]) for one in reply.json["missing"]] == [
        ("0_1", second.address)
    ]
    assert "Streamer-Role" not in reply.headers


def test_an_owners_task_that_is_closed_within_a_range_is_503_as_without_copies(
    group: tuple[Worker, Worker, Worker],
) -> None:
    first, _second, _third = group
    database = first.served[TASKS[0]].database
    assert isinstance(database, TaskDatabase)
    first.serve(TASKS[0], Interrupted(database, 10))
    reply = first.get("/stores/totals?max_lag=5")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")


# -- what a worker tells of its copies -----------------------------------------------------------


def test_copies_are_told_by_tasks_and_stores(group: tuple[Worker, Worker, Worker]) -> None:
    first, _second, third = group
    assert first.get("/tasks").json == {"standbys": {"0_1": {"lag_records": 5}}}
    third.served[TASKS[1]] = replace(third.served[TASKS[1]], lag_records=None)
    assert third.get("/tasks").json == {"standbys": {"0_1": {"lag_records": None}}}
    (store,) = first.get("/stores").json["stores"]
    told = {task["task"]: (task["state"], task["lag_records"]) for task in store["tasks"]}
    assert told == {"0_0": ("running", 0), "0_1": ("standby", 5)}
    assert third.get("/readyz").status == third.get("/healthz").status == 200


def test_answers_from_copies_are_counted(group: tuple[Worker, Worker, Worker]) -> None:
    first, _second, _third = group
    line = 'streamer_http_standby_answers_total{route="/stores/{store}"}'

    def count() -> float:
        lines = first.get("/metrics").body.decode().splitlines()
        return sum(float(text.rpartition(" ")[2]) for text in lines if text.startswith(line))

    before = count()
    several(first, "?max_lag=5")
    several(first)
    assert count() == before + 1
