"""Requests to other workers, for keys that live there: one hop, bounded in number and in time."""

from __future__ import annotations

import http.client
import socket
import string
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote

from streamer.http.answers import JSON, Answer, QueryError, answer_of
from streamer.http.requests import forwarded
from streamer.http.silence import Silence

__all__ = ["Call", "Forwarder"]

# A worker that needs longer is in trouble, and the client had better ask again.
TIMEOUT_SECONDS = 5.0
# The same while somebody else may be asked: for one key, and for the rows of a page.
HURRY_SECONDS = 0.8
HURRY_PAGE_SECONDS = 2.0
# Fewer than a server's connections, so that workers which wait for each other can still answer.
CALLS_MAX = 32
PARALLEL_MAX = 8
IDLE_PER_WORKER_MAX = 4
_AS_THEY_ARE = string.punctuation
_KEPT = ("Retry-After", "Streamer-Role", "Streamer-Lag")


class Call(NamedTuple):
    """`address` is the worker's host:port. `limit`: it is asked for a copy that lacks at most so
    many records. `is_last`: nobody else may be asked. `is_page`: it may take a while."""

    address: str
    method: str
    target: str
    body: bytes = b""
    limit: int | None = None
    is_last: bool = True
    is_page: bool = False

    @property
    def patience(self) -> tuple[float, float]:
        """Seconds to wait for the connection, and for the answer."""
        if self.is_last:
            return TIMEOUT_SECONDS, TIMEOUT_SECONDS
        return HURRY_SECONDS, HURRY_PAGE_SECONDS if self.is_page else HURRY_SECONDS


class Forwarder:
    """Keeps connections to other workers open. Used by many threads at once."""

    def __init__(self) -> None:
        self.silence = Silence()
        self._idle: dict[str, list[http.client.HTTPConnection]] = defaultdict(list)
        self._busy: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(CALLS_MAX)
        self._threads = ThreadPoolExecutor(PARALLEL_MAX, thread_name_prefix="http-forward")
        self._is_closed = False

    def send(self, call: Call) -> Answer:
        """The other worker's answer, or the 503 that tells that it gave none."""
        if not self._slots.acquire(timeout=call.patience[0]):
            return answer_of(
                QueryError(
                    503,
                    f"{CALLS_MAX} requests wait for other workers already",
                    hint="ask again, or ask the owner itself: ?local=1 tells its address",
                    retry_after_s=1,
                )
            )
        self.silence.asked(call.address)
        try:
            answer = self._send(call)
        except (OSError, http.client.HTTPException) as error:
            # A page may take longer than is waited for, at a worker that is well.
            if not (call.is_page and isinstance(error, TimeoutError)):
                self.silence.failed(call.address)
            return answer_of(
                QueryError(
                    503,
                    f"worker {call.address} does not answer: {str(error) or type(error).__name__}",
                    hint="ask again: if it is gone, its tasks are given to others within seconds",
                    details={"owner": call.address},
                    retry_after_s=1,
                )
            )
        finally:
            self._slots.release()
        self.silence.answered(call.address)
        return answer

    def send_all(self, calls: Sequence[Call]) -> list[Answer]:
        """The answers in the order of the calls."""
        if len(calls) == 1:
            return [self.send(calls[0])]
        return list(self._threads.map(self.send, calls))

    def _send(self, call: Call) -> Answer:
        with self._lock:
            idle = self._idle[call.address].pop() if self._idle[call.address] else None
        if idle is not None:
            try:
                return self._ask(call, idle)
            except (ConnectionError, http.client.RemoteDisconnected, http.client.BadStatusLine):
                pass  # It was closed while it was idle; queries change nothing, so ask again.
        return self._ask(call, http.client.HTTPConnection(call.address, timeout=call.patience[0]))

    def _ask(self, call: Call, connection: http.client.HTTPConnection) -> Answer:
        with self._in_use(connection):
            if connection.sock is None:
                _connect(connection)
            connection.sock.settimeout(call.patience[1])
            headers = forwarded(call.limit) | ({"Content-Type": JSON} if call.body else {})
            # A client may send bytes as they are that http.client takes in no target.
            target = quote(call.target.encode("latin-1"), safe=_AS_THEY_ARE)
            connection.request(call.method, target, call.body or None, headers)
            response = connection.getresponse()
            answer = Answer(
                response.status,
                response.read(),
                response.headers.get("Content-Type", JSON),
                {name: response.headers[name] for name in _KEPT if name in response.headers},
            )
            keeps_open = not response.will_close
        with self._lock:
            idle = self._idle[call.address]
            if keeps_open and not self._is_closed and len(idle) < IDLE_PER_WORKER_MAX:
                idle.append(connection)
                return answer
        connection.close()
        return answer

    @contextmanager
    def _in_use(self, connection: http.client.HTTPConnection) -> Iterator[None]:
        with self._lock:
            if self._is_closed:
                raise ConnectionError("this worker is stopping")
            self._busy.add(connection)
        try:
            yield
        except BaseException:
            connection.close()
            raise
        finally:
            with self._lock:
                self._busy.discard(connection)

    def close(self) -> None:
        """End all calls at once; those that wait fail."""
        with self._lock:
            self._is_closed = True
            busy = list(self._busy)
            idle = [one for connections in self._idle.values() for one in connections]
            self._idle.clear()
        for connection in busy:
            if connection.sock is not None:
                _end(connection.sock)
        for connection in idle:
            connection.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _connect(connection: http.client.HTTPConnection) -> None:
    try:
        connection.connect()
    except TimeoutError as error:
        # Not to be taken for an answer that takes long: nobody is there.
        raise ConnectionError(f"no connection within {connection.timeout:g} s") from error


def _end(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
