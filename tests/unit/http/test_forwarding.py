"""Keys that live at another worker: one hop, no loops, and clear answers when it is not there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from streamer.http import forward
from streamer.ids import TaskId
from streamer.topology.app import App
from streamer.topology.partitioner import partition_of
from tests.unit.http.conftest import Start, Worker

NAMES = [f"customer-{number}" for number in range(40)]


def at(partition: int) -> str:
    """A name whose home is this partition of two."""
    return next(name for name in NAMES if partition_of(name.encode(), 2) == partition)


@pytest.fixture
def pair(start: Start) -> tuple[Worker, Worker]:
    """Two workers of one application, with a task each, that know each other."""
    app = App("spend")
    app.table("customers", key=str, value=dict, store="totals")
    topology = app.topology()
    first, second = start(topology, counts=2), start(topology, counts=2)
    for number, (worker, other) in enumerate(((first, second), (second, first))):
        worker.open(number, stream_time_ms=number, lag=number)
        worker.owners[TaskId(0, 1 - number)] = other.address
        worker.put(
            "totals",
            {
                name.encode(): (1, b'{"name":"%s"}' % name.encode())
                for name in NAMES
                if partition_of(name.encode(), 2) == number
            },
        )
    return first, second


@pytest.mark.slow
def test_any_worker_answers_any_key(pair: tuple[Worker, Worker]) -> None:
    for worker in pair:
        for name in NAMES:
            reply = worker.get(f"/stores/totals/{name}")
            assert reply.status == 200
            assert reply.json["value"] == {"name": name}
            home = partition_of(name.encode(), 2)
            assert (reply.json["task"], reply.json["lag_records"]) == (f"0_{home}", home)


@pytest.mark.parametrize("name", ["\u00e4", "\u00e4 b", "100%25 \u00e9", "\u6f22"])
def test_bytes_that_a_client_did_not_escape_are_passed_on(
    pair: tuple[Worker, Worker], name: str
) -> None:
    key = name.replace("%25", "%")
    home = partition_of(key.encode(), 2)
    pair[home].put("totals", {key.encode(): (1, b'{"name":"here"}')})
    raw = name.replace(" ", "%20").encode()
    for worker in pair:
        address, _, port = worker.address.rpartition(":")
        with socket.create_connection((address, int(port)), timeout=40) as connection:
            connection.sendall(b"GET /stores/totals/" + raw + b" HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4_096), b""))
        assert b" 200 " in answer.partition(b"\r\n")[0]
        assert b'"here"' in answer


def test_an_error_of_the_owner_is_passed_on(pair: tuple[Worker, Worker]) -> None:
    first, second = pair
    ((task, served),) = second.served.items()
    second.serve(task, served.database, state="restoring", lag=5)
    reply = first.get(f"/stores/totals/{at(1)}")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.json["error"] == "task 0_1 is restoring, with 5 records to go"


def test_local_tells_the_owner_instead(pair: tuple[Worker, Worker]) -> None:
    first, second = pair
    reply = first.get(f"/stores/totals/{at(1)}?local=1")
    assert (reply.status, reply.json["owner"]) == (421, second.address)
    assert reply.json["task"] == "0_1"
    assert first.get(f"/stores/totals/{at(0)}?local=1").status == 200
    assert first.post("/stores/totals?local=1", {"keys": [at(0), at(1)]}).status == 421


def test_workers_that_name_each_other_do_not_ask_in_circles(pair: tuple[Worker, Worker]) -> None:
    first, second = pair
    kept = dict(second.served)
    second.served.clear()
    second.owners[TaskId(0, 1)] = first.address
    began = time.monotonic()
    reply = first.get(f"/stores/totals/{at(1)}")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.json["error"] == f"task 0_1 is not here: {first.address} is said to run it"
    assert time.monotonic() - began < forward.TIMEOUT_SECONDS
    second.served.update(kept)


def test_a_worker_that_is_said_to_own_what_it_does_not_have_asks_itself_once(
    pair: tuple[Worker, Worker],
) -> None:
    first, _second = pair
    first.owners[TaskId(0, 1)] = first.address
    assert first.get(f"/stores/totals/{at(1)}").status == 503


def test_an_owner_that_is_gone_is_503(pair: tuple[Worker, Worker]) -> None:
    first, second = pair
    assert first.get(f"/stores/totals/{at(1)}").status == 200
    address = second.address
    assert second.server is not None
    second.server.close()
    reply = first.get(f"/stores/totals/{at(1)}")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert f"worker {address} does not answer" in reply.json["error"]
    assert reply.json["owner"] == address


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that accepts and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def test_an_owner_that_does_not_answer_is_503(
    pair: tuple[Worker, Worker], silent: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(forward, "TIMEOUT_SECONDS", 0.2)
    first, _second = pair
    first.owners[TaskId(0, 1)] = silent
    reply = first.get(f"/stores/totals/{at(1)}")
    assert (reply.status, reply.json["owner"]) == (503, silent)
    assert first.get(f"/stores/totals/{at(0)}").status == 200


@pytest.mark.slow
def test_waiting_for_another_worker_does_not_keep_this_one_from_working(
    pair: tuple[Worker, Worker], silent: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(forward, "TIMEOUT_SECONDS", 20.0)
    first, _second = pair
    first.owners[TaskId(0, 1)] = silent
    waiting = [
        threading.Thread(target=quietly, args=(first, f"/stores/totals/{at(1)}")) for _ in range(12)
    ]
    for thread in waiting:
        thread.start()
    began = time.monotonic()
    for _ in range(20):
        assert first.get(f"/stores/totals/{at(0)}").status == 200
    assert time.monotonic() - began < 10
    assert first.server is not None
    first.server.close()
    for thread in waiting:
        thread.join(40)
        assert not thread.is_alive()


def quietly(worker: Worker, path: str) -> None:
    try:
        worker.get(path)
    except OSError:
        return  # The server was closed meanwhile.


def test_several_keys_of_both_workers(pair: tuple[Worker, Worker]) -> None:
    asked = [NAMES[5], "nobody-1", *NAMES, "nobody-2", "nobody-3"]
    for worker in pair:
        rows = worker.post("/stores/totals", {"keys": asked}).json["rows"]
        names = [None if one is None else one["value"]["name"] for one in rows]
        assert names == [name if name in NAMES else None for name in asked]
        assert [one["key"] for one in rows if one is not None] == [n for n in names if n]
        assert {one["task"] for one in rows if one is not None} == {"0_0", "0_1"}


def test_several_keys_keep_their_encodings_on_the_way(pair: tuple[Worker, Worker]) -> None:
    first, _second = pair
    keys = [at(0).encode().hex(), at(1).encode().hex()]
    path = "/stores/totals?key_encoding=hex&value_encoding=hex"
    rows = first.post(path, {"keys": keys}).json["rows"]
    assert [one["key"] for one in rows] == keys
    values = [bytes.fromhex(one["value"]).decode() for one in rows]
    assert values == [f'{{"name":"{at(0)}"}}', f'{{"name":"{at(1)}"}}']


def test_several_keys_are_refused_when_one_worker_refuses(pair: tuple[Worker, Worker]) -> None:
    first, second = pair
    ((task, served),) = second.served.items()
    second.serve(task, served.database, state="restoring", lag=5)
    reply = first.post("/stores/totals", {"keys": [at(0), at(1)]})
    assert (reply.status, reply.json["task"]) == (503, "0_1")


def test_a_connection_that_died_while_idle_is_made_anew(
    pair: tuple[Worker, Worker],
) -> None:
    first, second = pair
    assert first.get(f"/stores/totals/{at(1)}").status == 200
    assert second.server is not None
    listener = second.server._listener
    assert listener is not None
    for connection in list(listener._connections):
        connection.end()
    assert first.get(f"/stores/totals/{at(1)}").status == 200
