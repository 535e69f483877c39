"""The server: one thread per connection, few of which work at the same time.

Threads and not an event loop, because each wait for the interpreter costs up to 5 ms while the loop
works, and a thread needs two per request where an event loop needs four. Connections, requests and
answers are bounded in number, size and time, and the loop's share is protected by `Turns`.
"""

from __future__ import annotations

import contextlib
import http.server
import logging
import math
import socket
import socketserver
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from streamer.errors import ConfigError
from streamer.http.answers import Answer, QueryError, answer_of
from streamer.http.forward import Forwarder
from streamer.http.requests import FORWARDED
from streamer.http.routes import Routes
from streamer.http.serving import Serving
from streamer.http.turns import Turns

__all__ = ["Server"]

_log = logging.getLogger(__name__)

CONNECTIONS_MAX = 128
BODY_BYTES_MAX = 1 << 20
IDLE_SECONDS = 60.0
READ_SECONDS = 10.0
WRITE_SECONDS = 30.0
_TICK_SECONDS = 0.2
# What a stop waits for requests that are being answered; then they are cut off.
_FINISH_SECONDS = 0.4
_HEAD_END = b"\r\n\r\n"


class Server:
    """Serves `serving` at host:port (port 0: any free one) from `start` to `close`.

    `schema_registry` are the settings with which serdes of the registry reach it.
    """

    def __init__(
        self,
        serving: Serving,
        host: str,
        port: int,
        *,
        schema_registry: Mapping[str, Any] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._forwarder = Forwarder()
        self._turns = Turns()
        self._routes = Routes(serving, self._turns, self._forwarder, registry=schema_registry or {})
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port in use; before `start` the one asked for."""
        return self._port

    def start(self) -> None:
        """Listen. Raises ConfigError when the address cannot be used."""
        self._listener = _listen(self._host, self._port, self._routes, turns=self._turns)
        self._port = self._listener.server_address[1]
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(_TICK_SECONDS,), name="http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop within a second: requests that are being answered may end first. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is not None and self._thread is not None:
            listener.stop()
            self._thread.join()
            listener.server_close()
            listener.end_connections(_FINISH_SECONDS)
        self._forwarder.close()


def _listen(host: str, port: int, routes: Routes, *, turns: Turns) -> _Listener:
    try:
        family, _kind, _protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _Listener(family, address, routes, turns=turns)
    except OSError as error:
        raise ConfigError(
            f"HTTP cannot listen on {host}:{port}: {error.strerror or error}",
            hint="set http_port to a free port or 0, http_host to an address of this machine,"
            " or http_port to -1 for no HTTP",
        ) from error


class _Listener(socketserver.TCPServer):
    """Accepts connections, gives each a thread, and ends those that are overdue."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, family: int, address: Any, routes: Routes, *, turns: Turns) -> None:
        self.address_family = family
        self.routes = routes
        self.turns = turns
        self.is_closing = False
        self._changed = threading.Condition()
        self._connections: set[_Connection] = set()
        super().__init__(address, _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            is_full = len(self._connections) >= CONNECTIONS_MAX
            idle = [one for one in self._connections if one.is_idle] if is_full else []
        if is_full:
            if not idle:
                self._turn_away(request)
                return
            # Who has been silent for longest has to connect again, which clients do by themselves.
            min(idle, key=lambda one: one.deadline).end()
        threading.Thread(
            target=self._converse, args=(request, client_address), name="http", daemon=True
        ).start()

    def _converse(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # The client is gone, or was too slow.
        except Exception:
            _log.exception("a connection failed")
        finally:
            self.shutdown_request(request)

    def _turn_away(self, request: Any) -> None:
        answer = answer_of(
            QueryError(
                503,
                f"{CONNECTIONS_MAX} clients are connected already",
                hint="keep connections open and use them again, or ask another worker",
                retry_after_s=1,
            )
        )
        try:
            request.setblocking(False)
            request.send(_response(answer, keeps_open=False))
        except OSError:
            pass
        finally:
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """Called by `serve_forever` at each tick."""
        now = time.monotonic()
        with self._changed:
            overdue = [one for one in self._connections if one.deadline < now]
        for connection in overdue:
            connection.end()

    def stop(self) -> None:
        """Accept nobody any more. Where the system allows it, without waiting for the tick."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.shutdown()

    def opened(self, connection: _Connection) -> None:
        with self._changed:
            self._connections.add(connection)

    def closed(self, connection: _Connection) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def end_connections(self, finish_s: float) -> None:
        """End the idle ones now, the others when they have answered or the time is over."""
        with self._changed:
            self.is_closing = True
            for connection in self._connections:
                if connection.is_idle:
                    connection.end()
            self._changed.wait_for(lambda: not self._connections, timeout=finish_s)
            for connection in self._connections:
                connection.end()
            self._changed.wait_for(lambda: not self._connections, timeout=0.1)


class _Connection(http.server.BaseHTTPRequestHandler):
    """One client. Its socket blocks without a timeout, which would cost a second wait for the
    interpreter per call; instead the listener ends the connection after its `deadline`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.is_idle = True
        self.deadline = time.monotonic() + IDLE_SECONDS
        self.server.opened(self)

    def finish(self) -> None:
        self.server.closed(self)
        super().finish()

    def end(self) -> None:
        """Cut the connection off; its thread then sees the end of it."""
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.deadline = time.monotonic() + IDLE_SECONDS
        self.is_idle = True
        head = self.rfile.peek(1)  # type: ignore[attr-defined]
        self.is_idle = False
        if not head:
            return
        self.deadline = time.monotonic() + READ_SECONDS
        began = time.thread_time()
        self._respond(head)
        self.server.turns.share.use(time.thread_time() - began)

    def _respond(self, head: bytes) -> None:
        """Read one request, of which `head` has come, and answer it."""
        wait = self.server.turns.share.wait_seconds()
        if wait:
            time.sleep(wait)
        if head.startswith(b"GET ") and _HEAD_END in head:
            # All of it is here, so that nothing below waits for the client.
            with self.server.turns:
                answer = self._answer() if self._parse() else None
        else:
            body = self._body() if self._parse() else None
            if body is None:
                return
            with self.server.turns:
                answer = self._answer(body)
        if answer is not None:
            self._send(answer)

    def _parse(self) -> bool:
        self.raw_requestline = self.rfile.readline(65_537)
        if len(self.raw_requestline) > 65_536:
            self.requestline, self.request_version, self.command = "", "", ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return False
        return self.parse_request()

    def _body(self) -> bytes | None:
        """The body of the request; None when it was refused."""
        if "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED, "bodies need a Content-Length")
            return None
        given = self.headers.get("Content-Length", "0")
        if not (given.isascii() and given.isdecimal()):
            self.send_error(HTTPStatus.BAD_REQUEST, f"Content-Length {given!r} is no number")
            return None
        if int(given) > BODY_BYTES_MAX:
            self.send_error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {BODY_BYTES_MAX} bytes"
            )
            return None
        body = self.rfile.read(int(given))
        return body if len(body) == int(given) else None

    def _answer(self, body: bytes = b"") -> Answer:
        self.deadline = math.inf  # What an answer takes is bounded where it is made.
        if self.command in ("GET", "HEAD") and not body and "Content-Length" in self.headers:
            # An unread body would be taken for the next request.
            self.close_connection = True
        return self.server.routes.answer(
            self.command, self.path, body=body, forwarded=self.headers.get(FORWARDED)
        )

    def _send(self, answer: Answer) -> None:
        self.deadline = time.monotonic() + WRITE_SECONDS
        if self.server.is_closing:
            self.close_connection = True
        response = _response(
            answer, keeps_open=not self.close_connection, has_body=self.command != "HEAD"
        )
        self.connection.sendall(response)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library calls when a request cannot be parsed."""
        self.close_connection = True
        text = message or explain or HTTPStatus(code).phrase
        hint = "the request is not as HTTP/1.1 has it"
        self._send(answer_of(QueryError(code, text, hint=hint)))

    def log_message(self, format: str, *arguments: Any) -> None:
        _log.debug(format, *arguments)


def _response(answer: Answer, *, keeps_open: bool, has_body: bool = True) -> bytes:
    """Head and body in one piece: two writes would be two waits for the interpreter."""
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    if not keeps_open:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head + answer.body if has_body else head
