"""Who runs which task: known only to workers that are asked for keys of others.

Nobody is sent the whole map. A worker reads the status records when a query needs them, goes on
reading while queries come, and stops when none has come for a minute.
"""

from __future__ import annotations

import logging
import threading
import time

from streamer.config import Config
from streamer.control.client import Control
from streamer.errors import StreamerError
from streamer.ids import TaskId

__all__ = ["Owners"]

_log = logging.getLogger(__name__)
_REFRESH_S = 1.0
_IDLE_S = 60.0
# The first query waits for the first map, which takes about half a second.
_FIRST_S = 3.0


class Owners:
    """Addresses by task. `owner` may be called by any thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._owners: dict[TaskId, str] = {}
        self._is_wanted = threading.Event()
        self._is_known = threading.Event()
        self._closing = threading.Event()
        self._asked_s = 0.0
        self._thread = threading.Thread(target=self._run, name="streamer-owners", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def owner(self, task: TaskId) -> str | None:
        """host:port of the worker that runs a task, None while nobody is known to."""
        self._asked_s = time.monotonic()
        self._is_wanted.set()
        self._is_known.wait(_FIRST_S)
        return self._owners.get(task)

    def close(self) -> None:
        self._closing.set()
        self._is_wanted.set()
        self._thread.join(timeout=_REFRESH_S)

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
        with Control(self._config) as control:
            while not self._closing.is_set():
                addresses = {one.worker: one.address for one in control.workers() if one.is_alive}
                self._owners = {
                    TaskId.parse(one.task): addresses[one.worker]
                    for one in control.tasks()
                    if addresses.get(one.worker)
                }
                self._is_known.set()
                if time.monotonic() - self._asked_s > _IDLE_S:
                    self._is_wanted.clear()
                    self._is_known.clear()
                    return
                self._closing.wait(_REFRESH_S)
