"""Carry an operation out, in a task's process first and in the triggerer where workers do the work.

Whoever drives holds the operation's lease; another one that comes waits, and goes on if that one
dies. What was begun is in the record alone: nothing here remembers anything.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from streamer.control.operations import OperationRecord
from streamer.errors import OperationRefusedError
from streamer.operations.catalog import is_left_to_workers
from streamer.operations.executor import Executor
from streamer.operations.lock import LEASE_MS
from streamer.operations.words import step_line
from streamer_airflow.planning import PLAN_ANEW

__all__ = ["Driver", "Opened", "Watch", "told"]

_log = logging.getLogger(__name__)

Opened = Callable[..., AbstractContextManager[Executor]]
"""An executor, given `notice` and `stopping`."""

_LOG_S = 10.0


class Watch:
    """Tells the log how far an operation is. Where a slot would only be used to look on, for
    `patience_s`, it sets `stopping`; 0 is without end. One that only `looks_on` does so where there
    is work to be done here."""

    def __init__(
        self,
        stopping: threading.Event,
        patience_s: float = 0.0,
        *,
        looks_on: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.owner = ""
        self.has_left = False
        """It was this that set `stopping`: somebody else is to look on."""
        self._stopping = stopping
        self._patience_s = patience_s
        self._looks_on = looks_on
        self._now = now
        self._idle_since: float | None = None
        self._said = ""
        self._said_at = -_LOG_S

    def notice(self, record: OperationRecord) -> None:
        now = self._now()
        line = step_line(record)
        head = f"{record.executor} {line.partition(':')[0]}"
        is_others = bool(record.executor) and record.executor != self.owner
        if is_others:
            # A task that is cleared after a kill stands still for so long: its log says why.
            line += f"; waits for {record.executor}, whose lease ends {LEASE_MS // 1000} s after it"
            line += " was heard last"
        if head != self._said or now - self._said_at >= _LOG_S:
            _log.info("%s", line)
            self._said, self._said_at = head, now
        if not (is_others or is_left_to_workers(record)):
            self._idle_since = None
            if self._looks_on and record.executor == self.owner:
                self._leave()
            return
        if self._idle_since is None:
            self._idle_since = now
        if self._patience_s and now - self._idle_since >= self._patience_s:
            self._leave()

    def _leave(self) -> None:
        self.has_left = True
        self._stopping.set()


class Driver:
    """One process's way to have an operation carried out. `stop` may be called by a signal. After
    `limit_s` it leaves it in order by itself; 0 is without end. One that only `looks_on` leaves it
    as soon as there is work that workers do not do."""

    def __init__(
        self,
        opened: Opened,
        *,
        patience_s: float = 0.0,
        limit_s: float = 0.0,
        looks_on: bool = False,
    ) -> None:
        self.stopping = threading.Event()
        self.watch = Watch(self.stopping, patience_s, looks_on=looks_on)
        self.is_late = False
        """It was its time that was over."""
        self._opened = opened
        self._limit_s = limit_s

    def stop(self) -> None:
        """Leave it in order: another process can go on at once."""
        self.stopping.set()

    def drive(self, operation: str, plan_id: str = "", *, until: str = "") -> OperationRecord:
        """To its end or that of the step `until`, or until it fails; the record. `plan_id` is what
        was approved.

        Raises OperationRefusedError where it may not begin, and then its plan is taken out;
        StoppedError once it is to stop, and `watch.has_left` says whether others are to look on,
        `is_late` that there is no time left.
        """
        with (
            self._opened(notice=self.watch.notice, stopping=self.stopping) as executor,
            self._limited(),
        ):
            self.watch.owner = executor.owner
            try:
                return executor.start(operation, plan_id=plan_id, waits=True, until=until)
            except OperationRefusedError as error:
                self._take_out(executor, operation)
                hint = "; then ".join(filter(None, (error.hint, PLAN_ANEW)))
                raise OperationRefusedError(error.message, hint=hint) from error

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """By a thread: a step that waits may tell nothing."""
        if not self._limit_s:
            yield
            return
        timer = threading.Timer(self._limit_s, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self.is_late = True
        self.stopping.set()

    def _take_out(self, executor: Executor, operation: str) -> None:
        books = executor.books()
        if books.knows(operation) and books.operation(operation).state == "planned":
            executor.withdraw(operation)
            _log.info("the plan of operation %s is taken out", operation)


def told(record: OperationRecord) -> dict[str, Any]:
    """What a task gives to the next one: where to look, and nothing of it."""
    return {"operation": record.id, "plan_id": record.plan_id, "state": record.state}
