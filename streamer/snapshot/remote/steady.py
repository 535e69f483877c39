"""Patience with a repository that is away for a while: what broke off is asked again.

A read goes on behind the last byte that came, a put is begun anew. So a put whose first try has
landed unseen answers False: whoever gave the key a name of its own knows whose object that is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from streamer.clock import Clock, SystemClock
from streamer.errors import RepositoryUnavailableError
from streamer.snapshot.remote.api import Backend, Content, Stored

__all__ = ["SteadyBackend"]

_log = logging.getLogger(__name__)
T = TypeVar("T")

PAUSE_S_FIRST, PAUSE_S_MAX = 0.2, 10.0


class SteadyBackend(Backend):
    """Another backend, asked again for `patience_ms` since it last answered."""

    def __init__(
        self,
        backend: Backend,
        patience_ms: int,
        *,
        clock: Clock | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.address = backend.address
        self._backend = backend
        self._patience_ms = patience_ms
        self._clock = clock or SystemClock()
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait

    def put(self, key: str, content: Content, *, size: int) -> bool:
        return self._again(f"writing {key}", lambda: self._backend.put(key, content, size=size))

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        at, end = start, None if length is None else start + length
        patience = _Patience(self, f"reading {key}")
        while end is None or at < end:
            left = None if end is None else end - at
            try:
                for chunk in self._backend.read(key, start=at, length=left):
                    at += len(chunk)
                    patience.answered()
                    yield chunk
            except RepositoryUnavailableError as error:
                patience.pause(error)
            else:
                return

    def stat(self, key: str) -> Stored | None:
        return self._again(f"looking for {key}", lambda: self._backend.stat(key))

    def list(self, prefix: str) -> Iterator[Stored]:
        # Half a listing is none: what it lacks would be taken for absent.
        return iter(self._again(f"listing {prefix}", lambda: [*self._backend.list(prefix)]))

    def delete(self, key: str) -> None:
        self._again(f"removing {key}", lambda: self._backend.delete(key))

    def unfinished(self) -> Iterator[Stored]:
        what = "listing what is unfinished"
        return iter(self._again(what, lambda: [*self._backend.unfinished()]))

    def discard(self, key: str) -> None:
        self._again(f"discarding {key}", lambda: self._backend.discard(key))

    @property
    def once(self) -> Backend:
        return self._backend

    def check_writable(self) -> None:
        self._again("asking for its rules", self._backend.check_writable)

    def close(self) -> None:
        self._closed.set()
        self._backend.close()

    def _again(self, what: str, call: Callable[[], T]) -> T:
        patience = _Patience(self, what)
        while True:
            try:
                return call()
            except RepositoryUnavailableError as error:
                patience.pause(error)


class _Patience:
    """How long one request has been tried in vain, and how long to wait for the next try."""

    def __init__(self, steady: SteadyBackend, what: str) -> None:
        self._steady = steady
        self._what = what
        self.answered()

    def answered(self) -> None:
        self._since_ms = self._steady._clock.monotonic_ms()
        self._tries = 0

    def pause(self, error: RepositoryUnavailableError) -> None:
        """Wait. Raises what is to be told when the time is over, or the backend was closed."""
        steady = self._steady
        self._tries += 1
        pause_s = min(PAUSE_S_FIRST * 2 ** (self._tries - 1), PAUSE_S_MAX)
        spent_ms = steady._clock.monotonic_ms() - self._since_ms
        if steady._closed.is_set() or spent_ms + pause_s * 1000 > steady._patience_ms:
            raise RepositoryUnavailableError(
                f"{steady.address}: {self._what}: tried {self._tries} times in"
                f" {spent_ms / 1000:.0f} s: {error}",
                hint=error.hint or "check that the repository's host runs and can be reached",
            ) from error
        if self._tries == 1:
            _log.warning("trying again, %s: %s", self._what, error)
        steady._wait(pause_s)
