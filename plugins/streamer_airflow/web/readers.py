"""One reader per connection in this process, shared by all who look."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from streamer.closable import Closable
from streamer.config import Config
from streamer.overview.follow import Follower, View
from streamer_airflow.hooks.application import ApplicationHook

__all__ = ["Readers"]


def _config(conn_id: str) -> Config:
    return ApplicationHook(conn_id).config()


class Readers(Closable):
    """Readers by connection. Each ends by itself when nobody has looked for some minutes; what it
    saw last is kept. Any thread may ask."""

    def __init__(self, make: Callable[[str], Follower] | None = None) -> None:
        self._make = make or (lambda conn_id: Follower(partial(_config, conn_id)))
        self._lock = threading.Lock()
        self._followers: dict[str, Follower] = {}

    def view(self, conn_id: str) -> View:
        """At once, whatever Kafka does."""
        with self._lock:
            follower = self._followers.get(conn_id)
            if follower is None:
                follower = self._followers[conn_id] = self._make(conn_id)
        return follower.view()

    def close(self) -> None:
        with self._lock:
            followers = list(self._followers.values())
            self._followers.clear()
        for follower in followers:
            follower.close()
