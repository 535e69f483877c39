"""What the HTTP server needs to know of its worker; the worker implements it.

Every method is called from the threads of the server, many at once, and must neither wait nor
change anything. What it returns is a copy that stays true to the moment of the call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamer.ids import TaskId
from streamer.topology.graph import Topology

__all__ = ["Health", "Rows", "ServedTask", "Serving"]


class Rows(Protocol):
    """The committed rows of a task; a StreamerError is raised once they are closed."""

    def get(self, store: str, key: bytes) -> bytes | None: ...

    def get_many(self, store: str, keys: list[bytes]) -> list[bytes | None]: ...

    def scan(
        self, store: str, start: bytes, end: bytes | None, *, reverse: bool = ..., index: bool = ...
    ) -> Iterator[tuple[bytes, bytes]]: ...

    def approximate_rows(self, store: str) -> int: ...


@dataclass(frozen=True, slots=True)
class ServedTask:
    """A task whose database is open here. `state` is a name of the task's life cycle."""

    task: TaskId
    state: str
    stream_time_ms: int
    database: Rows
    lag_records: int
    times: Mapping[str, int] = field(default_factory=dict)

    def time_of(self, store: str) -> int:
        """The stream time that a store's rows go by: a windowed one has its own."""
        return self.times.get(store, self.stream_time_ms)

    @property
    def is_readable(self) -> bool:
        """Whether its rows are all that was committed. They are not while it is restored, nor
        when it failed before it ran for the first time; then it has no stream time."""
        return self.state == "running" or (self.state == "failed" and self.stream_time_ms >= 0)


@dataclass(frozen=True, slots=True)
class Health:
    """Live: the process makes progress. Ready: all its tasks run. `details` is plain JSON."""

    is_live: bool
    is_ready: bool
    reasons: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


class Serving(Protocol):
    topology: Topology

    def tasks(self) -> list[ServedTask]:
        """The tasks whose database this worker has open."""
        ...

    def task_count(self, subtopology: int) -> int:
        """How many tasks, and so partitions, a subtopology has; 0 while that is not known."""
        ...

    def owner(self, task: TaskId) -> str | None:
        """host:port of the worker that runs a task, None while nobody is known to."""
        ...

    def health(self) -> Health: ...
