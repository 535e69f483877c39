"""Who runs which task, and who keeps copies of it: known only to workers that are asked for it.

Nobody is sent the whole map. A worker reads the status records when a query needs them, goes on
reading while queries come, and stops when none has come for a minute.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from streamer.config import Config
from streamer.control.client import Control
from streamer.errors import StreamerError
from streamer.ids import TaskId

__all__ = ["Owners"]

_log = logging.getLogger(__name__)
_REFRESH_S = 1.0
_IDLE_S = 60.0
# The first query waits for the first map, which takes about half a second. Those that come later
# wait for no longer in all: where brokers do not answer, a map that is old is better than none.
_FIRST_S = 3.0


@dataclass(frozen=True, slots=True)
class _Map:
    """One reading; replaced as a whole, so that no lock is needed."""

    owners: dict[TaskId, str] = field(default_factory=dict)
    standbys: dict[TaskId, list[tuple[str, int]]] = field(default_factory=dict)


class Owners:
    """Addresses by task. `owner` and `standbys` may be called by any thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._map = _Map()
        self._is_wanted = threading.Event()
        self._is_known = threading.Event()
        self._closing = threading.Event()
        self._asked_s = 0.0
        self._wanted_s = 0.0
        self._thread = threading.Thread(target=self._run, name="streamer-owners", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def owner(self, task: TaskId) -> str | None:
        """host:port of the worker that runs a task, None while nobody is known to."""
        return self._look().owners.get(task)

    def standbys(self, task: TaskId) -> list[tuple[str, int]]:
        """host:port of the other workers that keep a copy, and how many records of the changelogs
        each had yet to read when it spoke last; the least first."""
        return self._look().standbys.get(task, [])

    def close(self) -> None:
        self._closing.set()
        self._is_wanted.set()
        self._thread.join(timeout=_REFRESH_S)

    def _look(self) -> _Map:
        now = time.monotonic()
        self._asked_s = now
        if not self._is_wanted.is_set():
            self._wanted_s = now
            self._is_wanted.set()
        self._is_known.wait(max(self._wanted_s + _FIRST_S - now, 0.0))
        return self._map

    def _run(self) -> None:
        while not self._closing.is_set():
            self._is_wanted.wait()
            try:
                self._follow()
            except StreamerError as error:
                _log.info("who owns which task is not known now: %s", error)
                self._closing.wait(_REFRESH_S)
            except Exception:
                _log.exception("looking for who owns which task failed, trying again")
                self._closing.wait(_REFRESH_S)

    def _follow(self) -> None:
        """Read while somebody asks."""
        with Control(self._config, reads_assignments=False) as control:
            while not self._closing.is_set():
                self._map = self._read(control)
                self._is_known.set()
                if time.monotonic() - self._asked_s > _IDLE_S:
                    self._is_wanted.clear()
                    self._is_known.clear()
                    return
                self._closing.wait(_REFRESH_S)

    def _read(self, control: Control) -> _Map:
        addresses = {one.worker: one.address for one in control.workers() if one.is_alive}
        found = _Map()
        for one in control.tasks():
            task = TaskId.parse(one.task)
            if addresses.get(one.worker):
                found.owners[task] = addresses[one.worker]
            copies = [
                (addresses[worker], lag)
                for worker, lag in one.standbys.items()
                if lag is not None and addresses.get(worker) and worker != self._config.worker_id
            ]
            if copies:
                found.standbys[task] = sorted(copies, key=lambda copy: copy[1])
        return found
