"""What the HTTP server needs to know of its worker; the worker implements it.

Every method is called from the threads of the server, many at once, and must neither wait nor
change anything. What it returns is a copy that stays true to the moment of the call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamer.ids import TaskId
from streamer.layout import Partitioner
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
    """A task whose database is open here. `state` is a name of the task's life cycle, or `standby`
    for a copy of what another worker runs; a copy that failed is not served.

    `lag_records` is what the task has yet to read of its inputs; of a standby, what it has yet to
    read of the changelogs, None while that is not known. `copy_lag` is the same of a task that is
    being restored. A copy's times are what is known to have been reached, -1 where nothing is;
    `age_ms` is how long ago, at most, it lacked what is told.

    `is_lapsed`: it runs here, but another worker may have been put in this one's place since then.
    It is a copy, which lacked nothing at that time.
    """

    task: TaskId
    state: str
    stream_time_ms: int
    database: Rows
    lag_records: int | None
    times: Mapping[str, int] = field(default_factory=dict)
    copy_lag: int | None = None
    age_ms: int | None = None
    is_lapsed: bool = False

    def time_of(self, store: str) -> int:
        """The stream time that a store's rows go by: a windowed one has its own. Of a copy it is
        not guessed from that of the task, which may be later."""
        return self.times.get(store, -1 if self.is_copy else self.stream_time_ms)

    @property
    def is_readable(self) -> bool:
        """Whether its rows are all that was committed. They are not while it is restored, nor
        when it failed before it ran for the first time; then it has no stream time."""
        return self.state == "running" or (self.state == "failed" and self.stream_time_ms >= 0)

    @property
    def is_standby(self) -> bool:
        return self.state == "standby"

    @property
    def is_copy(self) -> bool:
        """Whether its rows are those of a copy, which lacks what it is `behind`."""
        return self.state in ("standby", "restoring")

    @property
    def behind(self) -> int | None:
        """How many records of the changelogs a copy has yet to read; None where it is not known."""
        return self.lag_records if self.is_standby else self.copy_lag


@dataclass(frozen=True, slots=True)
class Health:
    """Live: the process makes progress. Ready: all its tasks run, whatever its copies of others'
    tasks do. `details` is plain JSON."""

    is_live: bool
    is_ready: bool
    reasons: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


class Serving(Protocol):
    topology: Topology

    @property
    def acceptable_lag(self) -> int:
        """The most records that a copy which answers for an owner may lack, unless the client says
        otherwise."""
        ...

    @property
    def keeps_copies(self) -> bool:
        """Whether the application keeps copies of its tasks."""
        ...

    def tasks(self) -> list[ServedTask]:
        """The tasks, and copies of tasks, whose database this worker has open."""
        ...

    def task_count(self, subtopology: int) -> int:
        """How many tasks a subtopology has; 0 while that is not known."""
        ...

    def placing(self, subtopology: int) -> tuple[int, Partitioner]:
        """Among how many partitions keys are placed, and by what; the tasks share them."""
        ...

    def owner(self, task: TaskId) -> str | None:
        """host:port of the worker that runs a task, None while nobody is known to."""
        ...

    def standbys(self, task: TaskId) -> list[tuple[str, int]]:
        """host:port of other workers that keep a copy of a task, and how many records each lacks;
        the least first, without those of which that is not known."""
        ...

    def health(self) -> Health: ...
