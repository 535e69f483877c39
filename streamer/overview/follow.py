"""`Follower`: one reader of an application for all who look at it, which ends when nobody does.

    follower = Follower(lambda: hook.config())
    view = follower.view()      # at once: what was seen last, and when; asks for nothing itself

Two threads: one follows the control topics, one looks at changelogs and snapshots now and then. An
error ends neither: it is told with what was seen before, and things are tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from streamer.clock import Clock, SystemClock
from streamer.closable import Closable
from streamer.config import Config
from streamer.errors import StoppedError, StreamerError
from streamer.overview.fleet import Fleet
from streamer.overview.inventory import Inventory, Surveyor
from streamer.overview.seen import Seen
from streamer.overview.watch import Watch

__all__ = ["Follower", "Looking", "Surveying", "Trouble", "View"]

_log = logging.getLogger(__name__)

IDLE_MS = 180_000
PACE_MS = 2_000
# What a look costs of one core at the most, however large the fleet is: a twentieth.
_REST = 20
RETRY_MS = 5_000
# The settings are read anew, in case that somebody changed the connection.
_CONFIG_MS = 60_000
_SURVEY_MS = 300_000
_CLOSE_S = 20.0
# What changes the inventory when it ends.
_CHANGES = frozenset({"snapshot", "trim", "rebuild"})


class Looking(Protocol):
    """As `Watch`."""

    @property
    def knows_assignments(self) -> bool: ...

    def look(self) -> Seen: ...

    def read_assignments(self) -> None: ...

    def close(self) -> None: ...


class Surveying(Protocol):
    """As `Surveyor`."""

    def survey(self, config: Config, seen: Seen) -> Inventory: ...


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing newer is known, and since when."""

    message: str
    hint: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class View:
    """What is known. `heard_ms` is when Kafka last told all of it, 0 while it never did; `version`
    grows with every change of anything but that."""

    version: int = 0
    fleet: Fleet | None = None
    inventory: Inventory | None = None
    trouble: Trouble | None = None
    heard_ms: int = 0


class Follower(Closable):
    """Any thread may ask for the view, and none waits for it. `load` gives the settings; whatever
    it raises is told as trouble."""

    def __init__(
        self,
        load: Callable[[], Config],
        *,
        clock: Clock | None = None,
        watch: Callable[[Config, threading.Event], Looking] | None = None,
        surveyor: Callable[[threading.Event], Surveying] | None = None,
        idle_ms: int = IDLE_MS,
        pace_ms: int = PACE_MS,
        retry_ms: int = RETRY_MS,
    ) -> None:
        self._load = load
        self._clock = clock or SystemClock()
        self._open = watch or (lambda config, stopping: Watch(config, stopping=stopping))
        self._surveyor = surveyor or (lambda stopping: Surveyor(stopping=stopping))
        self._idle_ms = idle_ms
        self._pace_ms = pace_ms
        self._retry_ms = retry_ms
        self._lock = threading.Lock()
        self._view = View()
        self._looked_ms = 0
        self._run: _Run | None = None
        self._is_closed = False

    def view(self) -> View:
        """What is known at this moment. Whoever asks keeps the reader going for some minutes."""
        with self._lock:
            self._looked_ms = self._clock.monotonic_ms()
            if self._run is None and not self._is_closed:
                self._run = _Run()
                for name, work in (("follow", self._follow), ("survey", self._survey)):
                    threading.Thread(
                        target=work, args=(self._run,), name=f"streamer-{name}", daemon=True
                    ).start()
            return self._view

    @property
    def is_running(self) -> bool:
        return self._run is not None

    def close(self) -> None:
        """End the threads, and wait for them for some seconds."""
        with self._lock:
            self._is_closed = True
            run, self._run = self._run, None
        if run is not None:
            run.stopping.set()
            run.survey.set()
            run.ended.wait(_CLOSE_S)

    # -- following -----------------------------------------------------------------------------

    def _follow(self, run: _Run) -> None:
        watch: Looking | None = None
        try:
            while not self._is_over(run):
                began_ns = time.thread_time_ns()
                try:
                    watch = self._opened(run, watch)
                    self._look(run, watch)
                    # Of the processor: who waits for brokers costs nobody anything.
                    spent_ms = (time.thread_time_ns() - began_ns) // 1_000_000
                    pause_ms = max(self._pace_ms, _REST * spent_ms)
                except Exception as error:  # whatever it is, those who look must be told
                    _let_go(watch)
                    watch = None
                    self._tell(run, error)
                    pause_ms = self._retry_ms
                run.stopping.wait(min(pause_ms, _CONFIG_MS) / 1000)
        finally:
            _let_go(watch)
            run.ended.set()

    def _is_over(self, run: _Run) -> bool:
        """Whether nobody has looked for so long, or it was closed. Decided under the lock: whoever
        looks next either kept this run going, or begins another."""
        with self._lock:
            idle_ms = self._clock.monotonic_ms() - self._looked_ms
            if self._run is run and idle_ms >= self._idle_ms:
                self._run = None
            if self._run is run:
                return False
        run.stopping.set()
        run.survey.set()
        return True

    def _opened(self, run: _Run, watch: Looking | None) -> Looking:
        now_ms = self._clock.monotonic_ms()
        if watch is None or now_ms - run.loaded_ms >= _CONFIG_MS:
            config = self._load()
            run.loaded_ms = now_ms
            if config != run.config:
                _let_go(watch)
                watch, run.config = None, config
        if watch is None:
            assert run.config is not None
            watch = self._open(run.config, run.stopping)
        return watch

    def _look(self, run: _Run, watch: Looking) -> None:
        self._show(run, watch.look())
        if not watch.knows_assignments:
            watch.read_assignments()
            self._show(run, watch.look())

    def _show(self, run: _Run, seen: Seen) -> None:
        fleet = Fleet(seen)
        # Summed up here, once, and not by everybody who looks.
        _ = fleet.totals
        done = {
            one.id
            for one in seen.books.operations.values()
            if one.is_finished and one.kind in _CHANGES
        }
        if run.seen is None or done - run.done:
            run.survey.set()
        run.seen, run.done = seen, done
        with self._lock:
            if self._run is run:
                view = self._view
                self._view = replace(
                    view, version=view.version + 1, fleet=fleet, trouble=None, heard_ms=seen.at_ms
                )

    def _tell(self, run: _Run, error: Exception) -> None:
        if isinstance(error, StoppedError):
            return
        if isinstance(error, StreamerError):
            message, hint = error.message, error.hint
        else:
            _log.warning("an application cannot be followed", exc_info=error)
            message = f"{type(error).__name__}: {error}"
            hint = "look at the connection; the log of the API server has the whole of it"
        with self._lock:
            view, since_ms = self._view, self._clock.now_ms()
            if view.trouble is not None and view.trouble.message == message:
                since_ms = view.trouble.since_ms
            trouble = Trouble(message, hint, since_ms)
            if self._run is run and trouble != view.trouble:
                self._view = replace(view, version=view.version + 1, trouble=trouble)

    # -- the inventory -------------------------------------------------------------------------

    def _survey(self, run: _Run) -> None:
        surveyor = self._surveyor(run.stopping)
        while True:
            run.survey.wait(_SURVEY_MS / 1000)
            run.survey.clear()
            if run.stopping.is_set():
                return
            config, seen = run.config, run.seen
            if config is None or seen is None:
                continue
            try:
                found = surveyor.survey(config, seen)
            except Exception as error:  # as above
                _log.warning("changelogs and snapshots cannot be looked at", exc_info=error)
                message = f"{type(error).__name__}: {error}"
                found = Inventory(looked_ms=self._clock.now_ms(), trouble=message)
            with self._lock:
                if self._run is run and not run.stopping.is_set():
                    view = self._view
                    self._view = replace(view, version=view.version + 1, inventory=found)


class _Run:
    """What the two threads of one run share."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.survey = threading.Event()
        self.ended = threading.Event()
        self.config: Config | None = None
        self.loaded_ms = 0
        self.seen: Seen | None = None
        self.done: set[str] = set()


def _let_go(watch: Looking | None) -> None:
    """Closed, whatever it says to that: its clients may be waiting for brokers that are away."""
    if watch is None:
        return
    try:
        watch.close()
    except Exception as error:
        _log.warning("a reader of control topics was not closed cleanly: %s", error)
