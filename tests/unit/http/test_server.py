"""The server itself: connections, slow and wrong clients, limits, and its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from streamer.errors import ConfigError
from streamer.http import server as server_module
from streamer.http.answers import Answer
from streamer.http.server import Server
from streamer.http.serving import Health
from streamer.topology.app import App
from tests.unit.http.conftest import Reply, Start, Worker


@pytest.fixture
def worker(start: Start) -> Worker:
    app = App("spend")
    app.table("customers", key=str, value=dict, store="totals")
    worker = start(app.topology())
    worker.open(0)
    worker.put("totals", {b"k%03d" % n: (1, b'{"n":%d}' % n) for n in range(500)})
    return worker


def connect(worker: Worker) -> socket.socket:
    assert worker.server is not None
    return socket.create_connection(("127.0.0.1", worker.server.port), timeout=40)


def exchange(worker: Worker, request: bytes) -> bytes:
    """All that the server says until it ends the connection."""
    with connect(worker) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def listener_of(worker: Worker) -> Any:
    assert worker.server is not None
    return worker.server._listener


def replies(data: bytes) -> list[Reply]:
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers["Content-Length"])
        found.append(Reply(int(status.split()[1]), headers, data[:length]))
        data = data[length:]
    return found


def test_a_connection_serves_many_requests(worker: Worker) -> None:
    connection = http.client.HTTPConnection(worker.address, timeout=40)
    connection.connect()
    first = connection.sock
    for number in range(50):
        connection.request("GET", f"/stores/totals/k{number:03}")
        assert json.load(connection.getresponse())["value"] == {"n": number}
        assert connection.sock is first
    connection.close()


def test_requests_sent_ahead_are_answered_in_order(worker: Worker) -> None:
    request = b"GET /stores/totals/k%03d HTTP/1.1\r\nHost: x\r\n%s\r\n"
    data = b"".join(request % (n, b"Connection: close\r\n" * (n == 9)) for n in range(10))
    assert [one.json["value"]["n"] for one in replies(exchange(worker, data))] == list(range(10))


@pytest.mark.slow
def test_fifty_clients_at_once(worker: Worker) -> None:
    def client(number: int) -> int:
        connection = http.client.HTTPConnection(worker.address, timeout=120)
        good = 0
        for turn in range(20):
            name = f"k{(number * 20 + turn) % 500:03}"
            connection.request("GET", f"/stores/totals/{name}")
            good += json.load(connection.getresponse())["key"] == name
        connection.close()
        return good

    with ThreadPoolExecutor(50) as threads:
        assert sum(threads.map(client, range(50))) == 1000


def test_ranges_and_keys_at_once(worker: Worker) -> None:
    def client(number: int) -> bool:
        if number % 3:
            value: dict[str, int] = worker.get(f"/stores/totals/k{number:03}").json["value"]
            return value == {"n": number}
        return len(worker.get("/stores/totals?limit=1000").json["rows"]) == 500

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(client, range(60)))


@pytest.mark.parametrize(
    ("request_bytes", "status", "error"),
    [
        (b"nonsense\r\n\r\n", 400, "Bad request syntax ('nonsense')"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, ""),
        (b"GET / HTTP/3.0\r\n\r\n", 505, "Invalid HTTP version (3.0)"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431, "Too many headers"),
        (
            b"POST /stores/totals HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            411,
            "bodies need a Content-Length",
        ),
        (
            b"POST /stores/totals HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n",
            413,
            "a body has at most 1048576 bytes",
        ),
        (
            b"POST /stores/totals HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            400,
            "Content-Length '-1' is no number",
        ),
    ],
    ids=["nonsense", "long line", "version", "many headers", "chunked", "large", "negative"],
)
def test_a_wrong_request_is_answered_and_ends_the_connection(
    worker: Worker, request_bytes: bytes, status: int, error: str
) -> None:
    (reply,) = replies(exchange(worker, request_bytes))
    assert reply.status == status
    assert error in reply.json["error"]
    assert reply.headers["Connection"] == "close"


def test_head_has_no_body(worker: Worker) -> None:
    data = exchange(
        worker, b"HEAD /stores/totals/k001 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"Content-Length: " in head
    assert body == b""


def test_an_old_client_is_answered_and_the_connection_ends(worker: Worker) -> None:
    (reply,) = replies(exchange(worker, b"GET /healthz HTTP/1.0\r\n\r\n"))
    assert (reply.status, reply.headers["Connection"]) == (200, "close")


def test_the_body_of_a_get_is_not_taken_for_a_request(worker: Worker) -> None:
    inner = b"GET /tasks HTTP/1.1\r\n\r\n"
    data = b"GET /healthz HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(inner), inner)
    assert [one.json for one in replies(exchange(worker, data))] == [
        {"is_live": True, "reasons": []}
    ]


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(worker: Worker) -> None:
    body = b'{"keys":["k001"]}'
    with connect(worker) as client:
        client.sendall(
            b"POST /stores/totals HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        assert client.recv(100).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(body)
        (reply,) = replies(b"".join(iter(lambda: client.recv(65_536), b"")))
    assert reply.values == [{"n": 1}]


def test_slow_clients_do_not_hold_up_others(worker: Worker) -> None:
    slow = [connect(worker) for _ in range(20)]
    for number, client in enumerate(slow):
        client.sendall(b"GET /stores/to" if number % 2 else b"POST /stores/totals HTTP/1.1\r\nA")
    began = time.monotonic()
    for number in range(20):
        assert worker.get(f"/stores/totals/k{number:03}").status == 200
    assert time.monotonic() - began < server_module.READ_SECONDS
    slow[1].sendall(b"tals/k007 HTTP/1.1\r\nConnection: close\r\n\r\n")
    (reply,) = replies(b"".join(iter(lambda: slow[1].recv(65_536), b"")))
    assert reply.json["value"] == {"n": 7}
    for client in slow:
        client.close()


@pytest.mark.slow
def test_a_client_that_sends_drop_by_drop_is_cut_off(worker: Worker, monkeypatch: Any) -> None:
    monkeypatch.setattr(server_module, "READ_SECONDS", 0.3)
    began = time.monotonic()
    with connect(worker) as client, pytest.raises(ConnectionError):
        send_for_ever(client)
    assert time.monotonic() - began < 20


def send_for_ever(client: socket.socket) -> None:
    for _ in range(1_000):
        client.sendall(b"G")
        time.sleep(0.05)


def test_a_client_that_does_not_read_is_cut_off(worker: Worker, monkeypatch: Any) -> None:
    monkeypatch.setattr(server_module, "WRITE_SECONDS", 0.3)
    listener = listener_of(worker)
    monkeypatch.setattr(
        listener.routes, "answer", lambda *given, **more: Answer(200, bytes(16 << 20))
    )
    with connect(worker) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        wait_until(lambda: not listener._connections)


@pytest.mark.slow
def test_an_idle_connection_ends(worker: Worker, monkeypatch: Any) -> None:
    monkeypatch.setattr(server_module, "IDLE_SECONDS", 0.2)
    with connect(worker) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        assert client.recv(1) == b""


def wait_until(condition: Any, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_beyond_the_limit_the_longest_idle_connection_gives_way(
    worker: Worker, monkeypatch: Any
) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 4)
    listener = listener_of(worker)
    clients = [connect(worker) for _ in range(4)]
    wait_until(lambda: len(listener._connections) == 4)
    assert worker.get("/healthz").status == 200
    assert clients[0].recv(1) == b""
    for client in clients:
        client.close()


def test_beyond_the_limit_of_busy_connections_clients_are_turned_away(
    worker: Worker, monkeypatch: Any
) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 3)
    listener = listener_of(worker)
    clients = [connect(worker) for _ in range(3)]
    for client in clients:
        client.sendall(b"GET /")
    wait_until(
        lambda: sum(not one.is_idle for one in list(listener._connections)) == 3,
    )
    with connect(worker) as late:
        (reply,) = replies(b"".join(iter(lambda: late.recv(65_536), b"")))
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.json["error"] == "3 clients are connected already"
    for client in clients:
        client.close()
    wait_until(lambda: not listener._connections)
    assert worker.get("/healthz").status == 200


def test_the_end_waits_for_no_client_longer_than_a_second(worker: Worker, monkeypatch: Any) -> None:
    clients = [connect(worker) for _ in range(10)]
    for number, client in enumerate(clients):
        client.sendall([b"", b"GET /", b"GET /healthz HTTP/1.1\r\n\r\n"][number % 3])
    assert worker.server is not None
    address = ("127.0.0.1", worker.server.port)
    began = time.monotonic()
    worker.server.close()
    # Half a second each for the thread and for what is being answered; a client has ten.
    assert time.monotonic() - began < 9
    for client in clients:
        # One that was not accepted yet is reset, the others come to their end.
        with contextlib.suppress(ConnectionResetError):
            while client.recv(65_536):
                pass
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=1)
    worker.server.close()


def test_a_request_that_is_being_answered_ends_before_the_server_does(
    worker: Worker, monkeypatch: Any
) -> None:
    asked = threading.Event()

    def slow_health() -> Health:
        asked.set()
        time.sleep(0.15)
        return Health(True, True)

    monkeypatch.setattr(worker, "health", slow_health)
    assert worker.server is not None
    with ThreadPoolExecutor(1) as threads:
        reply = threads.submit(worker.get, "/healthz")
        assert asked.wait(120)
        worker.server.close()
        assert reply.result(30).status == 200
        assert reply.result().headers["Connection"] == "close"


def test_no_thread_is_left_behind(start: Start) -> None:
    before = set(threading.enumerate())
    app = App("spend")
    app.table("customers", key=str, value=dict, store="totals")
    worker = start(app.topology())
    for _ in range(3):
        assert worker.get("/healthz").status == 200
    assert worker.server is not None
    worker.server.close()
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_port_that_is_taken_is_a_configuration_error(worker: Worker) -> None:
    assert worker.server is not None
    other = Server(worker, "127.0.0.1", worker.server.port)
    with pytest.raises(ConfigError, match=r"HTTP cannot listen on 127\.0\.0\.1:\d+: Address") as e:
        other.start()
    assert "http_port" in e.value.hint
    other.close()
    nowhere = Server(worker, "no-such-host.invalid", 0)
    with pytest.raises(ConfigError, match=r"cannot listen on no-such-host\.invalid:0"):
        nowhere.start()
    nowhere.close()


def test_a_failure_of_ours_is_500_and_logged(
    worker: Worker, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Health:
        raise RuntimeError("surprise")

    monkeypatch.setattr(worker, "health", broken)
    reply = worker.get("/healthz")
    assert (reply.status, reply.json["hint"]) == (500, "see the worker's log")
    assert "surprise" in caplog.text
    assert worker.get("/stores/totals/k001").status == 200
