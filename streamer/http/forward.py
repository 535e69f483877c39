"""Requests to other workers, for keys that live there: one hop, bounded in number and in time."""

from __future__ import annotations

import http.client
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from streamer.http.answers import JSON, Answer, QueryError
from streamer.http.requests import FORWARDED

__all__ = ["Call", "Forwarder"]

# A worker that needs longer is in trouble, and the client had better ask again.
TIMEOUT_SECONDS = 5.0
# Fewer than a server's connections, so that workers which wait for each other can still answer.
CALLS_MAX = 32
PARALLEL_MAX = 8
IDLE_PER_WORKER_MAX = 4

# (worker's host:port, method, target, body)
Call = tuple[str, str, str, bytes]


class Forwarder:
    """Keeps connections to other workers open. Used by many threads at once."""

    def __init__(self) -> None:
        self._idle: dict[str, list[http.client.HTTPConnection]] = defaultdict(list)
        self._busy: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(CALLS_MAX)
        self._threads = ThreadPoolExecutor(PARALLEL_MAX, thread_name_prefix="http-forward")
        self._is_closed = False

    def send(self, call: Call) -> Answer:
        """The other worker's answer. Raises QueryError (503) when it gives none."""
        address, method, target, body = call
        if not self._slots.acquire(timeout=TIMEOUT_SECONDS):
            raise QueryError(
                503,
                f"{CALLS_MAX} requests wait for other workers already",
                hint="ask again, or ask the owner itself: ?local=1 tells its address",
                retry_after_s=1,
            )
        try:
            return self._send(address, method, target, body=body)
        except (OSError, http.client.HTTPException) as error:
            raise QueryError(
                503,
                f"worker {address} does not answer: {error or type(error).__name__}",
                hint="ask again: if it is gone, its tasks are given to others within seconds",
                details={"owner": address},
                retry_after_s=1,
            ) from error
        finally:
            self._slots.release()

    def send_all(self, calls: Sequence[Call]) -> list[Answer]:
        """The answers in the order of the calls; the first error is raised."""
        if len(calls) == 1:
            return [self.send(calls[0])]
        return list(self._threads.map(self.send, calls))

    def _send(self, address: str, method: str, target: str, *, body: bytes) -> Answer:
        with self._lock:
            idle = self._idle[address].pop() if self._idle[address] else None
        if idle is not None:
            try:
                return self._ask(address, idle, method, target=target, body=body)
            except (ConnectionError, http.client.RemoteDisconnected, http.client.BadStatusLine):
                pass  # It was closed while it was idle; queries change nothing, so ask again.
        fresh = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
        return self._ask(address, fresh, method, target=target, body=body)

    def _ask(
        self,
        address: str,
        connection: http.client.HTTPConnection,
        method: str,
        *,
        target: str,
        body: bytes,
    ) -> Answer:
        with self._in_use(connection):
            headers = {FORWARDED: "1"} | ({"Content-Type": JSON} if body else {})
            connection.request(method, target, body or None, headers)
            response = connection.getresponse()
            answer = Answer(
                response.status,
                response.read(),
                response.headers.get("Content-Type", JSON),
                _kept(response),
            )
            keeps_open = not response.will_close
        with self._lock:
            idle = self._idle[address]
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


def _kept(response: http.client.HTTPResponse) -> dict[str, str]:
    wait = response.headers.get("Retry-After")
    return {} if wait is None else {"Retry-After": wait}


def _end(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
